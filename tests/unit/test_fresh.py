"""The parts of `make fresh` that need no system: what is called, what is carried over, what is told."""

import os
import shutil
from pathlib import Path

import pytest

from tests.fresh import entering, host
from tests.fresh.folder import alone_in, mounted, removed
from tests.fresh.running import Plan, called_as, run
from tests.fresh.table import table
from tests.fresh.words import FreshError, Outcome

#: `CapBnd` of root in a container, as /proc/self/status shows it, and the bits of which it is made.
CONTAINER = 0xA80425FB
NUMBERS = {
    "chown": 0, "dac_override": 1, "fowner": 3, "fsetid": 4, "kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8,
    "net_bind_service": 10, "net_raw": 13, "sys_chroot": 18, "mknod": 27, "audit_write": 29, "setfcap": 31,
}  # fmt: skip
LISTED = """:env:.cert='/etc/here.pem'
global.cert='/etc/here.pem'
global.extra-index-url='file:///srv/mirror/simple https://packages.test/simple'
global.find-links='/srv/wheels\\n/srv/nowhere'
install.user='true'
"""


def outcome(code: int | None) -> Outcome:
    """An end of `make demo` on sid."""
    return Outcome(system="sid", python="3.14.1", command="make demo", code=code, seconds=61.7, log=Path("a.log"))


def test_the_table_has_a_line_for_each_command_and_says_what_failed() -> None:
    assert table([outcome(0), outcome(2), outcome(None)]) == [
        "system  Python  command    result       seconds  output",
        "sid     3.14.1  make demo  ok           62       a.log",
        "sid     3.14.1  make demo  FAILED (2)   62       a.log",
        "sid     3.14.1  make demo  out of time  62       a.log",
    ]
    assert [outcome(code).is_good for code in (0, 2, None)] == [True, False, False]


def test_commands_are_what_a_person_types() -> None:
    assert called_as("demo", "-k name") == ("make demo", ["make", "demo"])
    assert called_as("test", "") == ("make test", ["make", "test"])
    assert called_as("test", "-k 'a or b'") == ("make test", ["make", "test", "ARGS=-k 'a or b'"])
    assert called_as("ci", "-k name") == (".ci/run", ["./.ci/run"])


def test_a_command_inside_has_an_environment_and_rights_of_its_own() -> None:
    line = entering.entered(
        Path("/s"), Path("/s.paths"), ["make", "demo"], rights="container", environ={"HOME": "/root"}
    )

    start = line.index("env")
    assert line[start - 4 : start] == ["sh", str(entering.ENTER), "/s", "/s.paths"]
    assert line[start:] == ["env", "-i", "HOME=/root", *entering.RIGHTS["container"], "make", "demo"]


def test_a_container_s_rights_are_what_containers_have_by_default() -> None:
    assert sum(1 << NUMBERS[name] for name in entering.CAPABILITIES) == CONTAINER
    assert f"--bounding-set=-all,+{',+'.join(entering.CAPABILITIES)}" in entering.RIGHTS["container"]
    assert "--inh-caps=-all" in entering.RIGHTS["container"]


def test_pip_is_told_inside_what_it_is_told_here(tmp_path: Path) -> None:
    settings = host.read_settings(LISTED)
    (tmp_path / "etc/ssl/certs").mkdir(parents=True)
    host.carry(tmp_path, settings, {})

    assert set(settings) == {"global.cert", "global.extra-index-url", "global.find-links"}
    assert (tmp_path / "etc/pip.conf").read_text().splitlines() == [
        "[global]",
        f"cert = {host.BUNDLE}",
        "extra-index-url = file:///srv/mirror/simple https://packages.test/simple",
        "find-links = /srv/wheels",
        "    /srv/nowhere",
    ]


def test_of_the_environment_only_what_the_network_needs_is_carried_over() -> None:
    here = {
        "HTTPS_PROXY": "http://proxy.test:3128",
        "no_proxy": "localhost",
        "PIP_INDEX_URL": "https://packages.test/simple",
        "PIP_CERT": "/home/me/ours.pem",
        "PIP_CONFIG_FILE": "/dev/null",
        "SSL_CERT_FILE": "/home/me/ours.pem",
        "HOME": "/home/me",
        "AWS_SECRET_ACCESS_KEY": "s",
    }

    assert host.environment(here) == host.PLAIN | {
        "HTTPS_PROXY": "http://proxy.test:3128",
        "no_proxy": "localhost",
        "PIP_INDEX_URL": "https://packages.test/simple",
        "PIP_CERT": host.BUNDLE,
        "SSL_CERT_FILE": host.BUNDLE,
    }


def test_paths_of_this_machine_that_pip_needs_are_seen_inside(tmp_path: Path) -> None:
    for name in ("mirror/simple", "wheels", "more"):
        (tmp_path / name).mkdir(parents=True)
    settings = {
        "global.extra-index-url": f"file://{tmp_path}/mirror/simple https://packages.test/simple",
        "global.find-links": f"{tmp_path}/wheels\n{tmp_path}/nowhere",
        "global.cert": str(tmp_path),
    }
    found = host.local_paths(settings, {"PIP_FIND_LINKS": f"{tmp_path}/more", "OTHER": str(tmp_path)})

    # An index is of no use without the files beside it, to which its pages lead.
    assert found == [f"{tmp_path}/{name}" for name in ("mirror", "more", "wheels")]


def test_a_bundle_of_one_s_own_becomes_the_system_s(tmp_path: Path) -> None:
    bundle = tmp_path / "ours.pem"
    bundle.write_text("ours")
    inside = tmp_path / "system" / host.BUNDLE[1:]
    inside.parent.mkdir(parents=True)
    host.carry(tmp_path / "system", {}, {"SSL_CERT_FILE": str(bundle)})

    assert inside.read_text() == "ours"


def test_a_folder_is_removed_unless_something_is_mounted_in_it(tmp_path: Path) -> None:
    folder, mounts = tmp_path / "ü x", tmp_path / "mounts"
    (folder / "sid/proc").mkdir(parents=True)
    escaped = str(folder / "sid/proc").replace(" ", "\\040")
    mounts.write_text(f"proc /proc proc rw 0 0\nproc {escaped} proc rw 0 0\n", encoding="utf-8")

    assert mounted(mounts) == [Path("/proc"), folder / "sid/proc"]
    with pytest.raises(FreshError, match="is mounted"):
        removed(folder, mounts)
    mounts.write_text("")
    removed(folder, mounts)
    removed(folder, mounts)
    assert not folder.exists()


def test_the_folder_is_for_one_at_a_time_and_for_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    with alone_in(folder), pytest.raises(FreshError, match="another make fresh"), alone_in(folder):
        pass
    with alone_in(folder):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("systems", "commands"), [((), ("demo",)), (("sid",), ()), (("../sid",), ("demo",))])
def test_what_cannot_be_run_is_refused(tmp_path: Path, systems: tuple[str, ...], commands: tuple[str, ...]) -> None:
    plan = Plan(source=tmp_path, folder=tmp_path, systems=systems, commands=commands, arguments="", rights="container")
    with pytest.raises(FreshError, match="one of each is needed"):
        next(run(plan))


def test_what_this_machine_lacks_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    unprivileged = entering.missing()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("debootstrap", "unshare") else name)

    assert unprivileged == "root is needed, to install systems and to mount: sudo make fresh"
    assert entering.missing() == "missing: debootstrap util-linux; apt-get install them"
