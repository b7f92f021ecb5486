"""`compose.yaml` says what the services need, as far as it can be seen without a container engine."""

import re
import subprocess
from pathlib import Path
from typing import Any

import calotype
import pytest
import yaml
from calotype.environment import SETTINGS

import gateway.settings
import services.generator.settings
import services.job.settings
import services.notifier.settings
import services.uploader.settings
from cli.stack import compose, database, nats
from cli.stack.object_store import access
from common import config
from gateway.auth.keys_file import KeysFile
from services.generator.adapters.providers import provider_file
from tests.support.deploy.manifests import ROOT, containers, named

FILE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
SETTINGS_OF: dict[str, Any] = {
    "job": services.job.settings.Settings,
    "generator": services.generator.settings.Settings,
    "uploader": services.uploader.settings.Settings,
    "notifier": services.notifier.settings.Settings,
    "gateway": gateway.settings.Settings,
}
#: Keys of a service in the Compose Specification that this file uses.
KEYS = {
    *("image", "build", "pull_policy", "restart", "init", "read_only", "cap_drop", "cap_add", "security_opt", "tmpfs"),
    *("stop_grace_period", "profiles", "user", "network_mode", "networks", "volumes", "command", "entrypoint"),
    *("environment", "secrets", "configs", "ports", "depends_on", "healthcheck", "shm_size", "mem_limit"),
}
MOUNTED = re.compile(r"/run/secrets/([\w.]+)")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as the service `secrets` makes it."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    compose.write_secrets(folder)
    return folder


def environment(name: str, secrets: Path) -> dict[str, str]:
    """The variables of a service, with the paths of its files here."""
    return {
        key: MOUNTED.sub(lambda found: str(secrets / found[1]), value).replace(
            "/etc/calotype", str(ROOT / "deploy" / "compose")
        )
        for key, value in SERVICES[name].get("environment", {}).items()
    }


def networks(name: str) -> set[str]:
    """Names of the networks of a service, or of the one whose network it shares."""
    mode = SERVICES[name].get("network_mode", "")
    return networks(mode.removeprefix("service:")) if ":" in mode else set(SERVICES[name].get("networks", ()))


def test_every_key_and_every_name_is_known() -> None:
    assert FILE.keys() == {"name", "x-service", "x-settings", "services", "networks", "volumes", "configs", "secrets"}
    for service in SERVICES.values():
        assert service.keys() <= KEYS
        assert set(service.get("networks", ())) <= FILE["networks"].keys()
        assert set(service.get("secrets", ())) <= FILE["secrets"].keys()
        for volume in service.get("volumes", ()):
            assert isinstance(volume, dict) or volume.partition(":")[0] in FILE["volumes"]
        assert {one["source"] for one in service.get("configs", ())} <= FILE["configs"].keys()
        needed = service.get("depends_on", {})
        assert set(needed) <= SERVICES.keys()
        if isinstance(needed, dict):
            for name, one in needed.items():
                assert one["condition"] in ("service_started", "service_healthy", "service_completed_successfully")
                assert one["condition"] != "service_healthy" or "healthcheck" in SERVICES[name]
    used = {network for name in SERVICES for network in networks(name)}
    assert used == FILE["networks"].keys()


def test_every_secret_is_a_file_that_is_made_and_used(secrets: Path) -> None:
    assert {Path(one["file"]).name for one in FILE["secrets"].values()} == FILE["secrets"].keys()
    assert all((secrets / name).stat().st_size for name in FILE["secrets"])
    for name, service in SERVICES.items():
        told = MOUNTED.findall(f"{service.get('environment', {})} {service.get('command', [])}")
        # The step that prepares the database reads two files of the folder.
        expected = {"keys.json", "postgres_password"} if name == "database" else set(told)
        assert set(service.get("secrets", ())) == expected
    used = {name for service in SERVICES.values() for name in service.get("secrets", ())}
    assert used == FILE["secrets"].keys()


def test_no_credential_stands_in_the_file_and_files_are_private(secrets: Path) -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for file in secrets.iterdir():
        if file.suffix == "" and not file.name.endswith("_url"):
            assert file.read_text(encoding="utf-8") not in text
        # PostgreSQL's image reads its password as another user; the folder keeps others out.
        assert file.stat().st_mode & 0o777 == (0o444 if file.name == "postgres_password" else 0o600)
    assert secrets.stat().st_mode & 0o777 == 0o700


def test_secrets_stay_the_same_when_they_are_made_again(secrets: Path) -> None:
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    compose.write_secrets(secrets)

    assert {file.name: file.read_bytes() for file in secrets.iterdir()} == before


@pytest.mark.parametrize("name", SETTINGS_OF)
def test_a_service_finds_all_its_settings(name: str, secrets: Path) -> None:
    found = environment(name, secrets)
    settings = config.load(SETTINGS_OF[name], environ=found, known=SETTINGS)

    fields = {field.upper() for field in SETTINGS_OF[name].__dataclass_fields__}
    own = {key.removeprefix("CALOTYPE_").removesuffix("_FILE") for key in found if key.startswith("CALOTYPE_")}
    assert own <= fields | {field.removesuffix("_FILE") for field in fields}
    grace = getattr(settings, "grace_seconds", 0)
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= grace + 15
    # The longest call, and its result.
    assert name != "generator" or grace >= settings.max_generating_seconds + 30


@pytest.mark.parametrize("name", SETTINGS_OF)
def test_an_address_is_that_of_a_service_in_a_shared_network(name: str, secrets: Path) -> None:
    for key, value in environment(name, secrets).items():
        if not key.endswith(("_ADDRESS", "NATS_URL", "EMULATOR_HOST")):
            continue
        host, _, port = value.rpartition("//")[2].rpartition(":")
        target = "storage" if host == "storage.localhost" else host
        assert networks(name) & networks(target), (key, value)
        listens = f"{SERVICES[target].get('environment', '')} {SERVICES[target]['command']}"
        assert f":{port}" in listens or (target, port) == ("nats", "4222")


def test_urls_of_databases_and_of_images_lead_to_their_services(secrets: Path) -> None:
    for service, role in database.ROLES.items():
        url = (secrets / f"{service}_database_url").read_text(encoding="utf-8")
        assert re.fullmatch(rf"postgresql://{role}:[\w-]+@postgres/{database.NAME}", url)
        assert networks(service) & networks("postgres")
    base = SERVICES["job"]["environment"]["CALOTYPE_PUBLIC_BASE_URL"]
    assert base == f"http://127.0.0.1:9000/{SERVICES['uploader']['environment']['CALOTYPE_BUCKET']}/"
    assert "127.0.0.1:9000:9000" in SERVICES["storage"]["ports"]
    # The gateway reads images at their public addresses.
    assert SERVICES["gateway"]["network_mode"] == "service:storage"
    assert SERVICES["storage"]["networks"]["objects"]["aliases"] == ["storage.localhost"]


def test_the_files_are_read_by_those_who_get_them(secrets: Path) -> None:
    known = access.read(secrets / "storage_access.json")
    assert set(known.buckets) == {compose.BUCKET, compose.STAGING_BUCKET}
    for service in ("generator", "uploader"):
        token = (secrets / f"{service}_storage_token").read_text(encoding="utf-8")
        assert known.identify(f"Bearer {token}") == service
        assert SERVICES[service]["environment"]["CALOTYPE_STAGING_BUCKET"] == compose.STAGING_BUCKET
    assert len(KeysFile(secrets / "keys.yaml").load()) == 2
    providers = ROOT / FILE["configs"]["providers"]["file"]
    assert provider_file.read(providers, max_timeout_seconds=600).default_name == "procedural"


def test_the_broker_accepts_its_configuration(secrets: Path) -> None:
    command = [nats.binary(), "-t", "--config", secrets / "nats.conf"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_a_container_has_no_right_that_it_does_not_need() -> None:
    for name, service in SERVICES.items():
        if name in ("secrets", "postgres", "nats"):
            continue
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in service or name == "storage-folder"
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert not service.get("privileged"), name
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["storage"]
    closed = {name for name, network in FILE["networks"].items() if network.get("internal")}
    assert closed == {"store", "broker", "calls"}
    assert all(networks(name) <= closed for name in ("job", "postgres", "nats", "database"))


def test_the_image_and_the_limits_are_those_of_kubernetes() -> None:
    own = {service["image"] for name, service in SERVICES.items() if name not in ("postgres", "nats")}
    assert own == {f"calotype:{calotype.__version__}"}
    assert [name for name, service in SERVICES.items() if "build" in service] == ["gateway"]
    assert (ROOT / SERVICES["gateway"]["build"]["dockerfile"]).exists()
    [generator] = containers(named("Deployment", "generator"))
    assert SERVICES["generator"]["mem_limit"] == generator["resources"]["limits"]["memory"].lower().removesuffix("i")
    [broker] = containers(named("StatefulSet", "nats"))
    assert SERVICES["nats"]["image"] == broker["image"]
