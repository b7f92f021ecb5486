"""`calotype k8s init` makes what the manifests need, once."""

import base64
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from calotype.permissions import ACCEPTED
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from sqlalchemy.engine import make_url

from cli.__main__ import main
from cli.errors import ExitCode
from cli.stack import database, nats
from common.database_url import driver_url
from common.identities import Identities
from gateway.auth.keys_file import KeysFile
from tests.support.deploy.manifests import containers, named, of_kind, pod
from tests.support.required_tools import need


def init(folder: Path, *options: str) -> Result:
    """Runs the command."""
    return CliRunner().invoke(main, ["k8s", "init", str(folder), *options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was made once."""
    made = tmp_path_factory.mktemp("installation") / "secrets"
    assert init(made).exit_code == ExitCode.DONE
    return made


def secrets(folder: Path) -> dict[str, dict[str, str]]:
    """Keys and values of every secret that kubectl makes of the folder."""
    kubectl = need("kubectl", install="run make test, which installs it")
    shown = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True).stdout
    made = list(yaml.safe_load_all(shown))
    assert {(one["kind"], one["metadata"]["namespace"]) for one in made} == {("Secret", "calotype")}
    return {
        one["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in one["data"].items()}
        for one in made
    }


def mounted(secret: dict[str, Any] | None) -> set[tuple[str, str]]:
    """Name and key of what a volume has; the key of a whole secret is empty."""
    if secret is None or secret.get("optional"):
        return set()
    name = str(secret.get("name", secret.get("secretName")))
    return {(name, item["key"]) for item in secret.get("items", ())} or {(name, "")}


def wanted() -> set[tuple[str, str]]:
    """Name and key of every secret that pods read."""
    found: set[tuple[str, str]] = set()
    for workload in of_kind("Deployment", "StatefulSet", "Job", "CronJob"):
        [container] = containers(workload)
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            found |= {(source["name"], source["key"])} if source else set()
        volumes = {volume["name"]: volume for volume in pod(workload).get("volumes", ())}
        for volume in volumes.values():
            parts = volume.get("projected", {}).get("sources", [volume])
            found |= {pair for part in parts for pair in mounted(part.get("secret"))}
        files = [Path(one["value"]) for one in container.get("env", ()) if one["name"].endswith("_FILE")]
        mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", ())}
        for file in files:
            secret = volumes[mounts[str(file.parent)]].get("secret")
            found |= {(secret["secretName"], file.name)} if secret else set()
    return found


def test_it_makes_every_secret_with_every_key_that_pods_read(folder: Path) -> None:
    made = secrets(folder)

    for name, key in wanted():
        assert name in made
        assert not key or made[name][key]
    assert made.keys() == {name for name, _ in wanted()}


def test_files_are_private_and_kept_out_of_repositories(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]

    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.glob("*/"))} == {0o700}
    assert (folder / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_services_accept_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = secrets(folder)
    keys = json.loads((folder / "keys.json").read_text(encoding="utf-8"))
    gateway = KeysFile(folder / "keys.yaml").load().by_key(keys["api_key"])
    identities = Identities(folder / "identities.yaml", roles=ACCEPTED)
    passwords = {f"NATS_{user.upper()}_PASSWORD": value for user, value in made["calotype-nats"].items()}
    configuration = named("ConfigMap", "nats")["data"]["nats.conf"].replace(
        "/run/secrets/tls", str(folder / "nats-tls")
    )
    (folder / "nats.conf").write_text(configuration, encoding="utf-8")
    command = [str(nats.binary()), "-t", "--config", str(folder / "nats.conf")]
    checked = subprocess.run(
        command, env=os.environ | passwords | {"SERVER_NAME": "nats-0"}, capture_output=True, text=True, check=False
    )
    (folder / "nats.conf").unlink()

    assert (gateway and gateway.tenant) == "default"
    for service in ("gateway", "generator", "uploader", "notifier"):
        identity = identities.of_token(made[f"calotype-{service}"]["token"])
        assert identity is not None
        assert identity.name == service
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("secret", "names"),
    [
        ("calotype-nats-tls", ["nats", "nats-0.nats-peers", "nats-2.nats-peers", "nats.calotype.svc", "localhost"]),
        ("calotype-job-tls", ["job", "job-workers", "job.calotype.svc", "localhost"]),
        ("calotype-notifier-tls", ["notifier", "notifier.calotype.svc", "localhost"]),
        ("calotype-generator-tls", ["generator", "localhost"]),
        ("calotype-uploader-tls", ["uploader", "localhost"]),
        ("calotype-gateway-tls", ["gateway"]),
    ],
)
def test_a_certificate_is_valid_for_the_names_that_clients_call(folder: Path, secret: str, names: list[str]) -> None:
    made = secrets(folder)[secret]
    store = Store([x509.load_pem_x509_certificate(made["ca.crt"].encode())])
    certificate = x509.load_pem_x509_certificate(made["tls.crt"].encode())

    for name in names:
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name)).verify(certificate, [])
    # Servers of NATS are clients of each other, and services that are called call others.
    PolicyBuilder().store(store).build_client_verifier().verify(certificate, [])
    with pytest.raises(VerificationError):
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName("postgres")).verify(certificate, [])


def test_a_certificate_for_grpc_is_none_for_the_broker_and_the_operator_has_one(folder: Path) -> None:
    made = secrets(folder)
    broker = Store([x509.load_pem_x509_certificate(made["calotype-nats-tls"]["ca.crt"].encode())])
    grpc = Store([x509.load_pem_x509_certificate(made["calotype-job-tls"]["ca.crt"].encode())])
    operator = x509.load_pem_x509_certificate((folder / "operator" / "tls.crt").read_bytes())

    PolicyBuilder().store(grpc).build_client_verifier().verify(operator, [])
    with pytest.raises(VerificationError):
        PolicyBuilder().store(broker).build_client_verifier().verify(operator, [])
    assert "calotype-operator" not in made
    assert (folder / "operator" / "ca.crt").read_text(encoding="utf-8") == made["calotype-gateway-tls"]["ca.crt"]


def test_the_statements_are_those_that_prepare_the_database_of_a_stack(folder: Path) -> None:
    statements = (folder / "database.sql").read_text(encoding="utf-8")
    keys = json.loads((folder / "keys.json").read_text(encoding="utf-8"))

    for statement in database.OWN_SCHEMAS:
        names = {"database": database.NAME, "notifier": database.ROLES["notifier"], "schema": database.SCHEMA}
        assert f"{statement.format(**names).replace(' IF NOT EXISTS', '')};" in statements
    for service, name in (("job", "database"), ("notifier", "notifier-database")):
        url = make_url((folder / name / "url").read_text(encoding="utf-8"))
        password = {"job": "database_password", "notifier": "notifier_database_password"}[service]
        assert (url.host, url.username, url.password) == ("postgres", database.ROLES[service], keys[password])
        assert url.query == {"sslmode": "require"}
        assert f"CREATE ROLE {url.username} LOGIN PASSWORD '{url.password}';" in statements


def test_a_second_run_keeps_every_file_and_adds_what_is_missing(tmp_path: Path) -> None:
    assert init(tmp_path / "secrets").exit_code == ExitCode.DONE
    before = {path: path.read_bytes() for path in (tmp_path / "secrets").rglob("*") if path.is_file()}
    removed = {tmp_path / "secrets" / "nats-tls" / name for name in ("tls.crt", "tls.key")}
    for path in removed:
        path.unlink()
    shown = init(tmp_path / "secrets", "--json")
    after = {path: path.read_bytes() for path in before}

    assert set(json.loads(shown.stdout)["made"]) == {"nats-tls/tls.crt", "nats-tls/tls.key"}
    assert {path for path in before if before[path] != after[path]} == removed
    shown = init(tmp_path / "secrets")
    assert "made " not in shown.stdout
    assert f"kept {len(before)} files" in shown.stdout


def test_a_new_authority_leaves_certificates_of_the_old_one_until_they_are_renewed(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert init(folder).exit_code == ExitCode.DONE
    authority = folder / "authorities" / "grpc.crt"
    pair = [folder / "job-tls" / name for name in ("tls.crt", "tls.key")]
    for path in (authority, authority.with_suffix(".key")):
        path.unlink()
    first = json.loads(init(folder, "--json").stdout)["made"]
    for path in pair:
        path.unlink()
    second = json.loads(init(folder, "--json").stdout)["made"]
    store = Store([x509.load_pem_x509_certificate(authority.read_bytes())])
    [renewed, kept] = [
        x509.load_pem_x509_certificate((folder / f"{name}-tls" / "tls.crt").read_bytes()) for name in ("job", "gateway")
    ]

    assert set(first) == {"authorities/grpc.crt", "authorities/grpc.key"}
    assert set(second) == {"job-tls/tls.crt", "job-tls/tls.key"}
    PolicyBuilder().store(store).build_client_verifier().verify(renewed, [])
    with pytest.raises(VerificationError):
        PolicyBuilder().store(store).build_client_verifier().verify(kept, [])


def test_what_a_kept_kustomization_does_not_list_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert json.loads(init(folder, "--json").stdout)["unlisted"] == {}
    kustomization = folder / "kustomization.yaml"
    # As an older version would have made it, and an owner has added to it.
    text = kustomization.read_text(encoding="utf-8").replace("notifier/token", "providers/token")
    kustomization.write_text(text, encoding="utf-8")

    assert json.loads(init(folder, "--json").stdout)["unlisted"] == {"notifier/token": "calotype-notifier"}
    assert "has no notifier/token: add it to the files of calotype-notifier" in init(folder).stdout
    assert kustomization.read_text(encoding="utf-8") == text


def test_a_database_whose_certificate_is_checked(tmp_path: Path, folder: Path) -> None:
    authorities = folder / "authorities" / "broker.crt"
    options = ("--database", "db.example:6432", "--database-ca", str(authorities), "--namespace", "images")
    shown = init(tmp_path / "secrets", *options)
    url = make_url((tmp_path / "secrets" / "notifier-database" / "url").read_text(encoding="utf-8"))

    assert shown.exit_code == ExitCode.DONE
    assert (url.host, url.port) == ("db.example", 6432)
    assert url.query == {"sslmode": "verify-full", "sslrootcert": "/run/secrets/database/ca.crt"}
    assert (tmp_path / "secrets" / "database" / "ca.crt").read_bytes() == authorities.read_bytes()
    assert "namespace: images\n" in (tmp_path / "secrets" / "kustomization.yaml").read_text(encoding="utf-8")


def test_services_follow_a_failover_between_several_servers(tmp_path: Path) -> None:
    made = init(tmp_path / "secrets", "--database", "db-a.example,db-b.example:6432", "--database-without-tls")
    url = make_url(driver_url((tmp_path / "secrets" / "database" / "url").read_text(encoding="utf-8")))

    assert made.exit_code == ExitCode.DONE
    assert (url.query["host"], url.query["port"]) == ("db-a.example,db-b.example", "5432,6432")
    assert (url.query["sslmode"], url.query["target_session_attrs"]) == ("disable", "read-write")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--namespace", "Images"), "--namespace"),
        (("--database", "db-a.example,"), "--database"),
        (("--database", "postgresql://db/x"), "--database"),
        (("--database", "db'x"), "--database"),
        (("--database-ca", __file__, "--database-without-tls"), "exclude"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_made(
    options: tuple[str, ...], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["k8s", "init", str(tmp_path / "secrets"), *options])

    assert ended.value.code == ExitCode.USAGE
    assert why in capsys.readouterr().err
    assert not (tmp_path / "secrets").exists()


def test_a_certificate_without_its_key_and_secrets_without_their_source_are_refused(tmp_path: Path) -> None:
    assert init(tmp_path / "secrets").exit_code == ExitCode.DONE
    (tmp_path / "secrets" / "nats-tls" / "tls.key").unlink()
    half = init(tmp_path / "secrets")
    (tmp_path / "secrets" / "keys.json").unlink()
    without = init(tmp_path / "secrets")

    assert (half.exit_code, "nats-tls/tls.crt is there without" in half.stderr) == (ExitCode.FAILED, True)
    assert (without.exit_code, "not keys.json" in without.stderr) == (ExitCode.USAGE, True)
    assert not (tmp_path / "secrets" / "keys.json").exists()
