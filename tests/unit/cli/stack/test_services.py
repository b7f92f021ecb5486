"""Each service is told what it needs, and nothing else."""

from pathlib import Path

import pytest
from calotype.environment import SETTINGS

from cli.stack.ports import Ports
from cli.stack.services import SERVICES, Assembled, Wiring, assemble

WIRING = {
    "NATS_URL": "nats://127.0.0.1:4222",
    "BUCKET": "public",
    "STAGING_BUCKET": "staging",
    "PUBLIC_BASE_URL": "http://127.0.0.1:1/public",
    "API_BASE_URL": "http://127.0.0.1:8080",
    "PROVIDERS_FILE": "",
    "API_KEYS_FILE": "/keys.yaml",
    "KEYLESS_WHILE_FREE": "",
    "GRPC_IDENTITIES_FILE": "/identities.yaml",
}


def assembled(folder: Path, *, of_providers: frozenset[str] = frozenset(), **replicas: int) -> Assembled:
    wiring = Wiring(
        settings=WIRING,
        database_urls={
            "job": "postgresql://calotype@127.0.0.1/calotype",
            "notifier": "postgresql://notifier@127.0.0.1",
        },
        tokens={name: f"of the {name}" for name in ("gateway", "generator", "uploader", "notifier")},
        nats_passwords={"job": "job at the broker", "generator": "generator there", "operator": "everything"},
        storage_url="http://127.0.0.1:1",
        storage_tokens={"generator": "generator at storage", "uploader": "uploader at storage"},
        http="127.0.0.1:8080",
        logs=folder,
        replicas=replicas,
        provider_variables=of_providers,
    )
    return assemble(wiring, Ports(folder / "ports.json"))


def settings_of(found: Assembled, name: str) -> dict[str, str]:
    environment = found.programs[name][0].environment
    return {key.removeprefix("CALOTYPE_"): value for key, value in environment.items() if key.startswith("CALOTYPE_")}


def test_each_service_that_stores_something_knows_its_own_database(tmp_path: Path) -> None:
    found = assembled(tmp_path)
    told = {name: settings_of(found, name).get("DATABASE_URL") for name in found.programs}

    assert {name: url for name, url in told.items() if url} == {
        "job": "postgresql://calotype@127.0.0.1/calotype",
        "notifier": "postgresql://notifier@127.0.0.1",
    }


def test_settings_of_webhooks_reach_the_notifier_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "CALOTYPE_WEBHOOK_ALLOW_PRIVATE": "true",
        "CALOTYPE_WEBHOOK_PORTS": "8000",
        "CALOTYPE_WEBHOOK_PROXY_URL": "http://user:secret@proxy.example",
        "CALOTYPE_WEBHOOKS_PER_TENANT": "3",
        "CALOTYPE_WEBHOOK_DELIVERIES_PER_MINUTE": "60",
        "CALOTYPE_NOTIFIER_SLOTS": "8",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CALOTYPE_API_BASE_URL", "http://elsewhere")
    found = assembled(tmp_path, notifier=2)

    assert {name: reaches(found, name) for name in told} == {name: ["notifier"] for name in told}
    listens = [program.environment["CALOTYPE_GRPC_LISTEN"] for program in found.programs["notifier"]]
    assert [program.name for program in found.programs["notifier"]] == ["notifier", "notifier-2"]
    assert settings_of(found, "gateway")["NOTIFIER_ADDRESS"] == f"ipv4:{','.join(listens)}"
    assert settings_of(found, "notifier")["API_BASE_URL"] == "http://127.0.0.1:8080"


def test_the_callers_own_wiring_reaches_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_DATABASE_URL", "postgresql://elsewhere/production")
    monkeypatch.setenv("CALOTYPE_API_KEY", "secret")
    monkeypatch.setenv("CALOTYPE_ADMIN_LISTEN", "elsewhere:9464")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://elsewhere")
    monkeypatch.setenv("STORAGE_EMULATOR_TOKEN", "elsewhere")

    found = assembled(tmp_path)

    for programs in found.programs.values():
        environment = programs[0].environment
        assert "elsewhere" not in "".join(environment.values())
        assert "CALOTYPE_API_KEY" not in environment


def reaches(found: Assembled, variable: str) -> list[str]:
    """The services that are given a variable."""
    return [name for name in found.programs if variable in found.programs[name][0].environment]


def test_a_credential_reaches_the_generator_alone_and_only_when_its_file_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAID_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found = assembled(tmp_path, of_providers=frozenset({"PAID_API_KEY"}))

    assert (reaches(found, "PAID_API_KEY"), reaches(found, "AWS_SECRET_ACCESS_KEY")) == (["generator"], [])
    assert reaches(assembled(tmp_path, of_providers=frozenset({"AWS_*"})), "AWS_SECRET_ACCESS_KEY") == ["generator"]


def test_tuning_reaches_those_who_read_it_and_telemetry_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_LEASE_SECONDS", "3")
    monkeypatch.setenv("CALOTYPE_MAX_GENERATING_SECONDS", "700")
    monkeypatch.setenv("CALOTYPE_LOG_FORMAT", "text")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector")
    found = assembled(tmp_path)

    assert reaches(found, "CALOTYPE_LEASE_SECONDS") == ["job"]
    assert reaches(found, "CALOTYPE_MAX_GENERATING_SECONDS") == ["job", "generator"]
    assert reaches(found, "CALOTYPE_LOG_FORMAT") == reaches(found, "OTEL_EXPORTER_OTLP_ENDPOINT") == [*found.programs]


def test_replicas_have_ports_of_their_own_and_workers_know_them_all(tmp_path: Path) -> None:
    found = assembled(tmp_path, job=2, generator=2)
    listens = [
        program.environment["CALOTYPE_GRPC_LISTEN"] for name in ("job", "generator") for program in found.programs[name]
    ]
    workers = [program.environment["CALOTYPE_WORKER_LISTEN"] for program in found.programs["job"]]

    assert len({*listens, *workers}) == 6
    assert settings_of(found, "uploader")["WORKER_ADDRESS"] == f"ipv4:{','.join(workers)}"
    assert found.addresses["worker"] == workers[0]
    assert [program.name for program in found.programs["generator"]] == ["generator", "generator-2"]


def test_gateways_share_a_host_and_have_ports_of_their_own(tmp_path: Path) -> None:
    found = assembled(tmp_path, gateway=2)

    assert found.gateways == [program.environment["CALOTYPE_HTTP_LISTEN"] for program in found.programs["gateway"]]
    assert found.gateways[0] == "127.0.0.1:8080"
    assert found.gateways[1].startswith("127.0.0.1:")
    assert len({*found.gateways}) == 2


def test_metrics_of_each_process_are_on_a_port_of_this_machine(tmp_path: Path) -> None:
    found = assembled(tmp_path, generator=2)
    listens = {
        name: [program.environment["CALOTYPE_ADMIN_LISTEN"] for program in programs]
        for name, programs in found.programs.items()
    }
    every = [listen for of_service in listens.values() for listen in of_service]

    assert found.admin == {name: [f"http://{listen}" for listen in of_one] for name, of_one in listens.items()}
    assert (len(every), len({*every, *found.addresses.values(), "127.0.0.1:8080"})) == (6, 6 + len(found.addresses) + 1)
    assert {listen.rpartition(":")[0] for listen in every} == {"127.0.0.1"}


def test_each_caller_has_a_token_of_its_own_and_each_server_the_digests_alone(tmp_path: Path) -> None:
    found = assembled(tmp_path, generator=2)
    told = {name: settings_of(found, name) for name in found.programs}

    assert {name: settings.get("GRPC_TOKEN") for name, settings in told.items()} == {
        "job": None,
        "generator": "of the generator",
        "uploader": "of the uploader",
        "notifier": "of the notifier",
        "gateway": "of the gateway",
    }
    assert found.programs["generator"][1].environment["CALOTYPE_GRPC_TOKEN"] == "of the generator"
    assert [name for name in told if "GRPC_IDENTITIES_FILE" in told[name]] == [
        "job",
        "generator",
        "uploader",
        "notifier",
    ]


def test_each_user_of_the_broker_has_a_password_of_its_own(tmp_path: Path) -> None:
    found = assembled(tmp_path)

    assert {name: settings_of(found, name).get("NATS_PASSWORD") for name in found.programs} == {
        "job": "job at the broker",
        "generator": "generator there",
        "uploader": None,
        "notifier": None,
        "gateway": None,
    }


def test_the_object_store_s_tokens_are_with_those_who_use_it_each_with_its_own(tmp_path: Path) -> None:
    found = assembled(tmp_path)
    tokens = {name: programs[0].environment.get("STORAGE_EMULATOR_TOKEN") for name, programs in found.programs.items()}

    assert tokens == {
        "job": None,
        "generator": "generator at storage",
        "uploader": "uploader at storage",
        "notifier": None,
        "gateway": None,
    }


def test_the_callers_own_identity_and_tls_reach_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CA_FILE"):
        monkeypatch.setenv(f"CALOTYPE_GRPC_{name}", "/elsewhere")

    for programs in assembled(tmp_path).programs.values():
        assert "/elsewhere" not in programs[0].environment.values()


def test_every_setting_that_the_stack_gives_is_known(tmp_path: Path) -> None:
    assert frozenset().union(*(service.settings for service in SERVICES)) <= SETTINGS
