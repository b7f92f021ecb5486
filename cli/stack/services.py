"""The services of the embedded stack, and the settings, addresses and credentials of each process."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.stack import variables
from cli.stack.child import Program
from cli.stack.ports import Ports
from cli.stack.probes import grpc_ok, http_ok

#: Prefix of all settings' variables.
PREFIX = "CALOTYPE_"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service, and what the stack sets for it."""

    #: For messages, ports and `--replicas`.
    name: str
    #: Module that runs it.
    module: str
    #: Names of the settings that the stack sets, without prefix.
    settings: frozenset[str]
    #: Whether it gets a token for the object store.
    uses_storage: bool = False
    #: Whether it gets the variables that providers read.
    calls_providers: bool = False


_BROKER = frozenset({"NATS_URL", "NATS_PASSWORD", "ADMIN_LISTEN"})
_WORKER = _BROKER | {"WORKER_ADDRESS", "GRPC_LISTEN", "GRPC_IDENTITIES_FILE", "GRPC_TOKEN"}
SERVICES = (
    Service(
        name="job",
        module="services.job",
        settings=_BROKER | {"DATABASE_URL", "PUBLIC_BASE_URL", "GRPC_LISTEN", "WORKER_LISTEN", "GRPC_IDENTITIES_FILE"},
    ),
    Service(
        name="generator",
        module="services.generator",
        settings=_WORKER | {"STAGING_BUCKET", "PROVIDERS_FILE"},
        uses_storage=True,
        calls_providers=True,
    ),
    Service(
        name="uploader",
        module="services.uploader",
        settings=_WORKER | {"BUCKET", "STAGING_BUCKET"},
        uses_storage=True,
    ),
    Service(
        name="notifier",
        module="services.notifier",
        settings=_BROKER
        | {"DATABASE_URL", "JOB_ADDRESS", "API_BASE_URL", "GRPC_LISTEN", "GRPC_IDENTITIES_FILE", "GRPC_TOKEN"},
    ),
    Service(
        name="gateway",
        module="gateway",
        settings=frozenset(
            {
                *("JOB_ADDRESS", "NOTIFIER_ADDRESS", "HTTP_LISTEN", "API_KEYS_FILE", "KEYLESS_WHILE_FREE"),
                *("GRPC_TOKEN", "ADMIN_LISTEN", "PUBLIC_BASE_URL"),
            }
        ),
    ),
)
#: Phases of stopping: no service loses another that it still needs.
STOPPING_ORDER = (("gateway",), ("generator", "uploader", "notifier"), ("job",))
_OF_OTHERS = {
    "URL",
    "API_KEY",
    "OPERATOR_KEY",
    "GRPC_TLS_CERT",
    "GRPC_TLS_KEY",
    "GRPC_TLS_CA",
    "NATS_TLS_CA",
    "STREAM_REPLICAS",
}
#: Variables that the stack sets itself or that are for client commands: never taken from the caller's environment.
_NOT_INHERITED = frozenset(
    f"{PREFIX}{name}{suffix}"
    for service in SERVICES
    for name in service.settings | _OF_OTHERS
    for suffix in ("", "_FILE")
)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What services need to know about the rest of the stack."""

    #: Settings by name, without prefix; a service gets those that it names.
    settings: Mapping[str, str]
    #: URLs of databases, by service.
    database_urls: Mapping[str, str]
    #: Tokens for gRPC, by service.
    tokens: Mapping[str, str]
    #: Passwords of the broker, by user.
    nats_passwords: Mapping[str, str]
    #: URL of the object store.
    storage_url: str
    #: Tokens for the object store, by service.
    storage_tokens: Mapping[str, str]
    #: `host:port` that the gateway listens at, or the first of several.
    http: str
    #: Folder of all logs.
    logs: Path
    #: Number of processes by service; 1 for a service that is not in it.
    replicas: Mapping[str, int]
    #: Variables of the caller's environment that the generator's providers read; `*` stands for any text.
    provider_variables: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Assembled:
    """The programs of all services, and their addresses."""

    #: Programs of all replicas, by service.
    programs: dict[str, list[Program]]
    #: `host:port` for gRPC of each service's first replica; `worker` is job-service's port for workers.
    addresses: dict[str, str]
    #: `host:port` that all replicas of the gateway listen at.
    gateways: list[str]
    #: `host:port` of OperationsService of all replicas, by service; the gateway has none.
    operations: dict[str, list[str]]
    #: `host:port` that answers health checks without a credential, of all replicas, by service; the gateway has none.
    health: dict[str, list[str]]
    #: URLs of all replicas' admin ports, by service; `/metrics` is there.
    admin: dict[str, list[str]]


def assemble(wiring: Wiring, ports: Ports) -> Assembled:
    """Makes the programs of all replicas, each with its ports and settings. Raises `NoFreePort`."""
    listens: dict[str, list[dict[str, str]]] = {}
    for service in SERVICES:
        count = wiring.replicas.get(service.name, 1)
        listens[service.name] = [_listen(service, number, ports, wiring.http) for number in range(1, count + 1)]
    shared = dict(wiring.settings) | {
        "JOB_ADDRESS": _target(listens["job"], "GRPC_LISTEN"),
        "WORKER_ADDRESS": _target(listens["job"], "WORKER_LISTEN"),
        "NOTIFIER_ADDRESS": _target(listens["notifier"], "GRPC_LISTEN"),
    }
    programs = {
        service.name: [
            _program(service, number, shared | listen | _credentials(service, wiring), wiring)
            for number, listen in enumerate(listens[service.name], start=1)
        ]
        for service in SERVICES
    }
    addresses = {name: first["GRPC_LISTEN"] for name, (first, *_) in listens.items() if "GRPC_LISTEN" in first}
    return Assembled(
        programs=programs,
        addresses=addresses | {"worker": listens["job"][0]["WORKER_LISTEN"]},
        gateways=[listen["HTTP_LISTEN"] for listen in listens["gateway"]],
        operations={name: [listen["GRPC_LISTEN"] for listen in listens[name]] for name in addresses},
        health={name: [_health_address(listen) for listen in listens[name]] for name in addresses},
        admin={name: [f"http://{listen['ADMIN_LISTEN']}" for listen in of_all] for name, of_all in listens.items()},
    )


def _health_address(settings: Mapping[str, str]) -> str:
    """`host:port` for health checks of a replica; "" for a gateway's."""
    # job-service answers them without a credential on its second port alone.
    return settings.get("WORKER_LISTEN") or settings.get("GRPC_LISTEN", "")


def _credentials(service: Service, wiring: Wiring) -> dict[str, str]:
    """Settings with the service's credentials; it gets those that it names."""
    return {
        "DATABASE_URL": wiring.database_urls.get(service.name, ""),
        "GRPC_TOKEN": wiring.tokens.get(service.name, ""),
        "NATS_PASSWORD": wiring.nats_passwords.get(service.name, ""),
    }


def _listen(service: Service, number: int, ports: Ports, http: str) -> dict[str, str]:
    addresses: dict[str, str] = {
        name: f"127.0.0.1:{ports.assign(f'{service.name}-{number}-{name.lower()}')}"
        for name in ("GRPC_LISTEN", "WORKER_LISTEN", "ADMIN_LISTEN")
        if name in service.settings
    }
    if "HTTP_LISTEN" not in service.settings:
        return addresses
    host = http.rpartition(":")[0]
    other = http if number == 1 else f"{host}:{ports.assign(f'{service.name}-{number}-http_listen')}"
    return addresses | {"HTTP_LISTEN": other}


def _target(listens: list[dict[str, str]], name: str) -> str:
    """Target of a gRPC client: of several replicas, the first that responds."""
    addresses = [listen[name] for listen in listens]
    return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"


def replica_name(service: str, number: int) -> str:
    """The name of a process: the service's for the first, `service-2` for the second."""
    return service if number == 1 else f"{service}-{number}"


def _program(service: Service, number: int, settings: Mapping[str, str], wiring: Wiring) -> Program:
    name = replica_name(service.name, number)
    environment = _inherited(service, wiring.provider_variables) | {
        PREFIX + key: value for key, value in settings.items() if key in service.settings and value
    }
    if service.uses_storage:
        environment["STORAGE_EMULATOR_HOST"] = wiring.storage_url
        environment["STORAGE_EMULATOR_TOKEN"] = wiring.storage_tokens[service.name]
    return Program(
        name=name,
        # -P: a folder of that name in the working directory must not be taken for the service.
        command=(sys.executable, "-P", "-m", service.module),
        environment=environment,
        log=wiring.logs / f"{name}.log",
        is_ready=_readiness(settings),
    )


def tuning_of(service: Service) -> frozenset[str]:
    """Names of the service's variables that the caller may set: all that the stack does not set itself."""
    return variables.settings_of(service.module) - _NOT_INHERITED


def _inherited(service: Service, provider_variables: frozenset[str]) -> dict[str, str]:
    """The caller's variables that the service reads; only the generator gets those that providers read."""
    of_providers = provider_variables if service.calls_providers else frozenset()
    inherited = variables.of_service(os.environ, tuning_of(service) | of_providers)
    direct = {
        name: ",".join(filter(None, [inherited.get(name), "127.0.0.1,localhost"])) for name in ("NO_PROXY", "no_proxy")
    }
    return inherited | direct | {"PYTHONPATH": source_path(inherited), "PYTHONUNBUFFERED": "1"}


def source_path(environment: Mapping[str, str]) -> str:
    """A PYTHONPATH with which another process finds this source tree."""
    root = Path(__file__).parents[2]
    return os.pathsep.join(filter(None, [str(root), str(root / "proto"), environment.get("PYTHONPATH")]))


def _readiness(settings: Mapping[str, str]) -> Callable[[], bool]:
    """How to check whether a replica is ready."""
    if address := _health_address(settings):
        return lambda: grpc_ok(address)
    ready = f"http://{settings['HTTP_LISTEN']}/readyz"
    return lambda: http_ok(ready)
