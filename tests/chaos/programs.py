"""What runs in the stack under fire: servers, services that reach them over links only, and the links."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cli.stack import postgres, services, storage
from cli.stack.child import Program
from cli.stack.embedded import BUCKET, STAGING_BUCKET
from cli.stack.ports import Ports
from cli.stack.probes import http_ok
from tests.chaos import flipping_names, links
from tests.chaos.links import Route
from tests.chaos.tuning import TUNING, write_keys
from tests.support.providers.paid_server import KEY
from tests.support.security.identities import OPERATOR, entry, write
from tests.support.servers.embedded_servers import JUDGE, NATS_PASSWORDS, STORAGE_TOKENS, nats_program
from tests.support.servers.nats_cluster import NAMES as NATS_NAMES
from tests.support.servers.nats_cluster import nats_cluster
from tests.support.servers.postgres_pair import NAMES as POSTGRES_NAMES
from tests.support.servers.postgres_pair import PostgresPair

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Servers by name, their ports, and the ports of the links to them; URLs lead to the servers themselves.

    With failover there are two of PostgreSQL, of which the standby is not among the programs, and three of NATS.
    """

    programs: Mapping[str, Program]
    ports: Mapping[str, int]
    links: Mapping[str, int]
    admin_url: str
    nats_url: str
    storage_url: str
    books: Path
    pair: PostgresPair | None

    def over_links(self, kind: str, url: str) -> str:
        """The URL of a server, or of several, over the links to them."""
        for name in _of_kind(kind, self.ports):
            url = url.replace(f":{self.ports[name]}", f":{self.links[name]}")
        return url


@dataclass(frozen=True, kw_only=True)
class Services:
    """Services by the names of their replicas, the links' program and its control port, and the gateways' addresses."""

    programs: Mapping[str, Program]
    links: Program
    control: int
    gateways: Sequence[str]


def servers(folder: Path, ports: Ports, *, seed: int, failover: bool) -> Servers:
    """PostgreSQL, NATS, object storage and the paid providers, with their data in the folder."""
    names = (*POSTGRES_NAMES, *NATS_NAMES) if failover else ("postgres", "nats")
    taken = {name: ports.assign(name) for name in ("storage", "provider", *names)}
    books = folder / "books.jsonl"
    databases, admin_url, pair = _databases(folder, taken)
    brokers = nats_cluster(folder, taken, ports) if failover else _broker(folder, taken["nats"])
    objects, storage_url = storage.program(
        folder / "storage",
        log=log_of(folder, "storage"),
        tokens=STORAGE_TOKENS,
        buckets={BUCKET: seen_by_judge(storage.PUBLIC), STAGING_BUCKET: seen_by_judge(storage.STAGING)},
        port=taken["storage"],
    )
    paid = _own(
        folder,
        "paid",
        (sys.executable, "-m", "tests.support.providers.paid_server", str(taken["provider"]), str(books), str(seed)),
        is_ready=lambda: http_ok(f"http://127.0.0.1:{taken['provider']}/ready"),
    )
    return Servers(
        programs={"paid": paid, "storage": objects, **databases, **{name: one for name, (one, _) in brokers.items()}},
        ports=taken,
        links={name: ports.assign(f"link to {name}") for name in taken},
        admin_url=admin_url,
        nats_url=",".join(url for _, url in brokers.values()),
        storage_url=storage_url,
        books=books,
        pair=pair,
    )


def _databases(folder: Path, ports: Mapping[str, int]) -> tuple[dict[str, Program], str, PostgresPair | None]:
    """The server that takes writes, the superuser's URL, and the pair where there is one."""
    if "postgres" not in ports:
        first, second = POSTGRES_NAMES
        pair = PostgresPair(folder, (ports[first], ports[second]))
        return {pair.primary: pair.program(pair.primary)}, pair.url, pair
    postgres.prepare(folder / "postgres")
    program, url = postgres.program(folder / "postgres", log=log_of(folder, "postgres"), port=ports["postgres"])
    return {"postgres": program}, url, None


def _broker(folder: Path, port: int) -> Mapping[str, tuple[Program, str]]:
    return {"nats": nats_program(folder / "nats", log=log_of(folder, "nats"), port=port)}


def _of_kind(kind: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.partition("-")[0] == kind]


def seen_by_judge(bucket: storage.Bucket) -> storage.Bucket:
    """A bucket that the judge may do everything in, too: planted bugs are his."""
    return replace(bucket, grants={**bucket.grants, JUDGE: storage.ALL})


def services_over_links(
    folder: Path,
    ports: Ports,
    reached: Servers,
    *,
    database_urls: Mapping[str, str],
    providers: Path,
    replicas: Mapping[str, int],
) -> Services:
    """All services, each of which reaches servers and others by links."""
    http = f"127.0.0.1:{ports.assign('http')}"
    wiring = services.Wiring(
        # The token of each is its name.
        tokens={name: name for name in ("gateway", "generator", "uploader", "notifier")},
        database_urls={name: reached.over_links("postgres", url) for name, url in database_urls.items()},
        nats_passwords=NATS_PASSWORDS,
        settings={
            "NATS_URL": ",".join(f"nats://127.0.0.1:{reached.links[name]}" for name in _of_kind("nats", reached.links)),
            "BUCKET": BUCKET,
            "STAGING_BUCKET": STAGING_BUCKET,
            "PUBLIC_BASE_URL": f"{reached.storage_url}/{BUCKET}",
            "API_BASE_URL": f"http://{http}",
            "PROVIDERS_FILE": str(providers),
            "API_KEYS_FILE": str(write_keys(folder / "keys.yaml")),
            "GRPC_IDENTITIES_FILE": str(
                write(
                    folder / "identities.yaml",
                    entry("gateway", "client", "operator", tenants="*"),
                    entry("generator", "generator"),
                    entry("uploader", "uploader"),
                    entry("notifier", "notifier", tenants="*"),
                    entry(OPERATOR, "operator"),
                )
            ),
        },
        storage_url=f"http://127.0.0.1:{reached.links['storage']}",
        storage_tokens=STORAGE_TOKENS,
        http=http,
        logs=folder / "logs",
        replicas=replicas,
        provider_variables=frozenset(),
    )
    assembled = services.assemble(wiring, ports)
    to_job, addresses = _links_to_job(assembled.programs["job"], ports)
    to_servers = [
        Route(link=name.partition("-")[0], port=reached.links[name], to=port) for name, port in reached.ports.items()
    ]
    tuning = {f"CALOTYPE_{name}": value for name, value in TUNING.items()} | {"PAID_API_KEY": KEY}
    if reached.pair is not None:
        tuning["CALOTYPE_STREAM_REPLICAS"] = str(len(NATS_NAMES))
    flipping_names.write(names_of(folder), flipping_names.FLIPPING)
    notifiers = [_with_names(program, folder) for program in assembled.programs["notifier"]]
    control = ports.assign("control")
    return Services(
        programs={
            f"{name}-{number}": _told(program, addresses, tuning)
            for name, programs in (assembled.programs | {"notifier": notifiers}).items()
            for number, program in enumerate(programs, start=1)
        },
        links=_own(
            folder, "links", links.arguments(control, [*to_servers, *to_job]), is_ready=lambda: links.are_up(control)
        ),
        control=control,
        gateways=assembled.gateways,
    )


def of_version(checkout: Path, program: Program) -> Program:
    """A service's program from another checkout, with what is installed there."""
    command = (str(checkout / ".venv" / "bin" / "python"), *program.command[1:])
    return replace(program, command=command, environment={**program.environment, "PYTHONPATH": _path(checkout)})


def is_of_version(checkout: Path, program: Program) -> bool:
    """Whether another checkout has the service of a program at all."""
    return (checkout / program.command[-1].replace(".", "/")).is_dir()


def names_of(folder: Path) -> Path:
    """Where the answers of names are that flip."""
    return folder / "names.json"


def log_of(folder: Path, name: str) -> Path:
    """Where a program's words go."""
    return folder / "logs" / f"{name}.log"


def _links_to_job(replicas: Sequence[Program], ports: Ports) -> tuple[list[Route], dict[str, str]]:
    """A link to each port of job-service, and what clients are told of them."""
    routes: list[Route] = []
    addresses = {}
    for client, server in (("JOB_ADDRESS", "GRPC_LISTEN"), ("WORKER_ADDRESS", "WORKER_LISTEN")):
        listens = [program.environment[f"CALOTYPE_{server}"] for program in replicas]
        found = [
            Route(link="job", port=ports.assign(f"link to {listen}"), to=int(listen.rpartition(":")[2]))
            for listen in listens
        ]
        addresses[f"CALOTYPE_{client}"] = "ipv4:" + ",".join(f"127.0.0.1:{route.port}" for route in found)
        routes += found
    return routes, addresses


def _told(program: Program, addresses: Mapping[str, str], tuning: Mapping[str, str]) -> Program:
    own = program.environment
    linked = {name: address for name, address in addresses.items() if name in own}
    return replace(program, environment={**own, **linked, **tuning})


def _with_names(program: Program, folder: Path) -> Program:
    """A service's program, by whose resolver names flip."""
    python, *_, module = program.command
    return replace(program, command=(python, flipping_names.__file__, str(names_of(folder)), module))


def _own(folder: Path, name: str, command: tuple[str, ...], *, is_ready: Callable[[], bool]) -> Program:
    environment = {**os.environ, "PYTHONPATH": _path(ROOT)}
    return Program(name=name, command=command, environment=environment, log=log_of(folder, name), is_ready=is_ready)


def _path(checkout: Path) -> str:
    return os.pathsep.join((str(checkout), str(checkout / "proto")))
