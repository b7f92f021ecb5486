"""`deploy/gcp/setup.sh` makes buckets, accounts and rights, in an order that works, as often as it is run."""

import dataclasses
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import services.job.settings
from tests.support.required_tools import need

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "deploy" / "gcp" / "setup.sh"
BUCKETS = ["--public-bucket", "shop-images", "--staging-bucket", "shop-staging"]
OPTIONS = ["--project", "shop", "--location", "europe-west4", *BUCKETS]
GENERATOR, UPLOADER = (f"calotype-{name}@shop.iam.gserviceaccount.com" for name in ("generator", "uploader"))
#: Records its arguments and lifecycle rules, each call a line, and remembers what was created. FAIL is a pattern of
#: calls that fail.
GCLOUD = r"""#!/bin/sh
rules=''
for word in "$@"; do [ -f "$word" ] && rules=$(cat "$word"); done
printf '%s\t%s\n' "$*" "$rules" >>"$CALLS"
echo "$*" | grep -q -e "${FAIL:-none}" && exit 1
case "$*" in
    *" describe "*) for word in "$@"; do grep -q -x -F "${word#gs://}" "$CALLS.made" && exit 0; done; exit 1 ;;
    "storage buckets create "*) echo "${4#gs://}" >>"$CALLS.made" ;;
    "iam service-accounts create "*) echo "$4@shop.iam.gserviceaccount.com" >>"$CALLS.made" ;;
esac
"""


class FakeGcloud:
    """A program `gcloud` in a folder of its own; it remembers what was made."""

    def __init__(self, folder: Path) -> None:
        self._calls = folder / "calls"
        (folder / "calls.made").touch()
        program = folder / "gcloud"
        program.write_text(GCLOUD, encoding="utf-8")
        program.chmod(0o755)
        self._path = f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

    def run(self, *options: str, fail: str = "none") -> subprocess.CompletedProcess[str]:
        """The script, which calls the program."""
        self._calls.write_text("", encoding="utf-8")
        environment = {"PATH": self._path, "CALLS": str(self._calls), "FAIL": fail}
        return subprocess.run([SCRIPT, *options], env=environment, capture_output=True, text=True, check=False)

    @property
    def calls(self) -> list[str]:
        """The calls of the last run that change something, without `--quiet` and names of temporary files."""
        lines = (call for call, _ in self._lines() if " describe " not in call)
        return [re.sub(r"(--lifecycle-file) \S+", r"\1 FILE", call) for call in lines]

    @property
    def rules(self) -> dict[str, list[dict[str, dict[str, object]]]]:
        """Lifecycle rules of the last run, by bucket."""
        return {re.findall(r"gs://(\S+)", call)[0]: json.loads(rules)["rule"] for call, rules in self._lines() if rules}

    def _lines(self) -> list[tuple[str, str]]:
        lines = self._calls.read_text(encoding="utf-8").splitlines()
        return [(call.replace(" --quiet", ""), rules) for call, _, rules in (line.partition("\t") for line in lines)]


@pytest.fixture
def gcloud(tmp_path: Path) -> FakeGcloud:
    """An empty project."""
    return FakeGcloud(tmp_path)


def granted(calls: list[str]) -> set[tuple[str, str, str]]:
    """Resource, member and role of each right."""
    found = set()
    for call in calls:
        if match := re.search(r"add-iam-policy-binding (\S+) ", call):
            member, role = (re.findall(rf"--{name} (\S+)", call)[0] for name in ("member", "role"))
            found.add((match[1], member, role))
    return found


def test_each_account_has_the_rights_that_it_needs_and_everybody_reads_by_name_alone(gcloud: FakeGcloud) -> None:
    made = gcloud.run(*OPTIONS)

    assert made.returncode == 0, made.stderr
    assert granted(gcloud.calls) == {
        ("gs://shop-staging", f"serviceAccount:{GENERATOR}", "roles/storage.objectUser"),
        ("gs://shop-staging", f"serviceAccount:{UPLOADER}", "roles/storage.objectViewer"),
        ("gs://shop-images", f"serviceAccount:{UPLOADER}", "roles/storage.objectUser"),
        # Not objectViewer, which lists.
        ("gs://shop-images", "allUsers", "roles/storage.legacyObjectReader"),
        (GENERATOR, "serviceAccount:shop.svc.id.goog[calotype/generator]", "roles/iam.workloadIdentityUser"),
        (UPLOADER, "serviceAccount:shop.svc.id.goog[calotype/uploader]", "roles/iam.workloadIdentityUser"),
    }
    # No right in the project, and no key that could leak.
    assert not [call for call in gcloud.calls if call.startswith("projects") or " keys " in call]


def test_what_is_named_was_made_before(gcloud: FakeGcloud) -> None:
    gcloud.run(*OPTIONS)
    calls = gcloud.calls
    places = {call.split(" --")[0]: place for place, call in reversed([*enumerate(calls)])}

    assert calls[0].startswith("services enable ")
    for bucket in ("shop-staging", "shop-images"):
        made, changed, given = (
            places[f"storage buckets {verb} gs://{bucket}"] for verb in ("create", "update", "add-iam-policy-binding")
        )
        assert made < changed < given
    for name in ("generator", "uploader"):
        made = places[f"iam service-accounts create calotype-{name}"]
        first = min(place for place, call in enumerate(calls) if f"calotype-{name}@" in call)
        assert made < first


def test_staging_is_private_and_nothing_in_it_ends_before_its_job(gcloud: FakeGcloud) -> None:
    usual = {field.name: field.default for field in dataclasses.fields(services.job.settings.Settings)}
    gcloud.run(*OPTIONS)
    of_buckets = [call for call in gcloud.calls if re.match("storage buckets (create|update)", call)]

    assert all("--uniform-bucket-level-access" in call for call in of_buckets)
    assert all("--public-access-prevention" in call for call in of_buckets if "shop-staging" in call)
    assert all("--no-public-access-prevention" in call for call in of_buckets if "shop-images" in call)
    [rule] = gcloud.rules["shop-staging"]
    # A job may wait for a day, and be retried, before its retention begins.
    assert rule == {"action": {"type": "Delete"}, "condition": {"age": usual["retention_days"] + 60}}
    assert "Delete" not in [one["action"]["type"] for one in gcloud.rules["shop-images"]]

    gcloud.run(*OPTIONS, "--retention-days", "400")
    assert gcloud.rules["shop-staging"][0]["condition"]["age"] == 460


def test_a_second_run_makes_nothing_and_sets_the_same(gcloud: FakeGcloud) -> None:
    gcloud.run(*OPTIONS)
    first = gcloud.calls
    again = gcloud.run(*OPTIONS)

    assert again.returncode == 0
    assert gcloud.calls == [call for call in first if " create " not in call]


def test_it_prints_lines_of_an_overlays_settings(gcloud: FakeGcloud) -> None:
    printed = [line for line in gcloud.run(*OPTIONS).stdout.splitlines() if not line.startswith("#")]
    settings = (SCRIPT.parents[1] / "k8s" / "overlays" / "production" / "settings.env").read_text(encoding="utf-8")
    names = {line.partition("=")[0] for line in settings.splitlines() if line and not line.startswith("#")}

    assert len(printed) == 6
    assert {line.partition("=")[0] for line in printed} <= names
    assert "UPLOADER_ACCOUNT=calotype-uploader@shop.iam.gserviceaccount.com" in printed


@pytest.mark.parametrize("fails", ["services enable", "buckets create", "service-accounts create", "allUsers"])
def test_it_ends_with_the_first_call_that_fails(gcloud: FakeGcloud, fails: str) -> None:
    made = gcloud.run(*OPTIONS, fail=fails)

    assert made.returncode != 0
    assert fails in gcloud.calls[-1]
    assert "CALOTYPE_BUCKET" not in made.stdout


@pytest.mark.parametrize(
    "options",
    [
        OPTIONS[:-2],
        [*OPTIONS, "--retention-days", "0"],
        [*OPTIONS, "--retention-days", "90d"],
        [*OPTIONS, "--public-bucket", "shop-staging"],
        [*OPTIONS, "--colour", "red"],
        [*OPTIONS, "--namespace"],
    ],
)
def test_what_cannot_be_meant_calls_nothing(gcloud: FakeGcloud, options: list[str]) -> None:
    assert gcloud.run(*options).returncode == 2
    assert gcloud.calls == []


def test_a_dry_run_prints_every_change_and_makes_none(gcloud: FakeGcloud) -> None:
    printed = gcloud.run(*OPTIONS, "--dry-run").stdout.splitlines()
    assert gcloud.calls == []
    gcloud.run(*OPTIONS)

    assert [re.sub(r"(--lifecycle-file) \S+", r"\1 FILE", line) for line in printed] == [
        f"gcloud {call}" for call in gcloud.calls
    ]


def test_the_script_is_clean() -> None:
    subprocess.run([need("shellcheck", install="apt-get install shellcheck"), SCRIPT], check=True)
