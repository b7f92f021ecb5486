"""The embedded stack as a whole: the order of starting and stopping, and the state that it writes."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calotype.broker_users import MONITOR, OPERATOR

from cli.stack import database, keys, nats, postgres, services, storage, variables
from cli.stack.child import Child, ChildSlow, Program
from cli.stack.ports import Ports
from cli.stack.state import SUPERVISOR, ProcessRecord, StackState, forget_state, write_processes
from cli.stack.supervisor import Supervisor

#: Buckets of the embedded object store.
BUCKET = "calotype-public"
STAGING_BUCKET = "calotype-staging"
#: Seconds that a program may take to start on a busy machine, and seconds after which that is reported.
START_SECONDS = 180.0
QUIET_SECONDS = 30.0
#: Phases of stopping: the servers last, and the database after all that writes to it.
STOPPING_ORDER = (*services.STOPPING_ORDER, ("nats", "storage"), ("postgres",))


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `calotype up`."""

    #: Folder of all data.
    folder: Path
    #: Host and port that the gateway listens at; port 0 is any free port.
    http: tuple[str, int]
    #: Provider file; None is the built-in provider `procedural`.
    providers: Path | None
    #: Number of processes by service; 1 for a service that is not in it.
    replicas: Mapping[str, int]
    #: Whether a key is needed even while every provider is free.
    require_auth: bool
    #: Seconds that each phase of stopping may take.
    grace_seconds: float


@dataclass(frozen=True, kw_only=True)
class Servers:
    """URLs of the servers."""

    #: Databases with user and password, by service.
    database_urls: Mapping[str, str]
    #: The broker, without a user.
    nats_url: str
    #: The object store.
    storage_url: str

    @property
    def public_base_url(self) -> str:
        """URL that public objects' names are appended to."""
        return f"{self.storage_url}/{BUCKET}"


class EmbeddedStack:
    """Servers and services, each a separate process, with all data in one folder.

    `address` is the address that the gateway listens at, and its URL; `report` gets lines for people.
    """

    def __init__(self, options: Options, address: tuple[str, str], report: Callable[[str], None]) -> None:
        self._options = options
        self._listen, self.url = address
        self._report = report
        self._children: dict[str, list[Child]] = {}
        self._supervisor = Supervisor(report=report, changed=self._record)
        self._describe: Callable[[], StackState] | None = None

    def start(self, stop: threading.Event) -> StackState:
        """Starts everything in order, waits until all is ready, returns the state.

        Raises `ChildError`, and `StartInterrupted` when `stop` is set meanwhile.
        """
        self._record()
        secrets, keys_file = keys.load_or_create(self._options.folder)
        for name in keys.refused_keys(secrets, keys_file):
            self._report(f"{keys_file} does not list the stack's own key of {name}: commands that use it are refused")
        identities = keys.write_identities(self._options.folder, secrets)
        ports = Ports(self._options.folder / "ports.json")
        servers = self._start_servers(ports, secrets, stop)
        assembled = services.assemble(self._wiring(servers, secrets, keys_file, identities), ports)
        ports.remember()
        # First: the other services call it at their start, and pause before they try again.
        self._run({"job": assembled.programs.pop("job")}, stop)
        # Last: until generators have registered their providers, the catalogue is that of the last run.
        gateway = assembled.programs.pop("gateway")
        self._run(assembled.programs, stop)
        self._run({"gateway": gateway}, stop)
        self._describe = lambda: StackState(
            http=self.url,
            grpc=assembled.addresses,
            database_url=servers.database_urls["job"],
            notifier_database_url=servers.database_urls["notifier"],
            nats_url=nats.as_user(servers.nats_url, OPERATOR.name, secrets.nats_passwords),
            nats_monitor_url=nats.as_user(servers.nats_url, MONITOR.name, secrets.nats_passwords),
            storage_url=servers.storage_url,
            public_base_url=servers.public_base_url,
            bucket=BUCKET,
            staging_bucket=STAGING_BUCKET,
            # Read again: `calotype keys replace` may have changed them.
            api_key=keys.load_or_create(self._options.folder)[0].api_key,
            operator_key=keys.load_or_create(self._options.folder)[0].operator_key,
            grpc_token=secrets.grpc_token,
            storage_tokens=dict(secrets.storage_tokens),
            pids={name: [child.pid for child in children] for name, children in self._children.items()},
            gateways=[self._url_of(address) for address in assembled.gateways],
            operations=assembled.operations,
            health=assembled.health,
            admin=assembled.admin,
        )
        self._record()
        return self._describe()

    def _url_of(self, address: str) -> str:
        """The URL of a gateway; the first one's may name another host than the one that it listens at."""
        return f"{self.url.rpartition(':')[0]}:{address.rpartition(':')[2]}"

    def supervise(self, stop: threading.Event) -> None:
        """Restarts processes that end, until `stop` is set."""
        self._supervisor.run(stop)

    def stop(self, hurry: threading.Event) -> None:
        """Stops services, then servers; calls that are under way may end first, until `hurry` is set."""
        phases = [[child for name in names for child in self._children.get(name, [])] for names in STOPPING_ORDER]
        self._supervisor.stop(phases, grace_seconds=self._options.grace_seconds, hurry=hurry)
        forget_state(self._options.folder)

    def _start_servers(self, ports: Ports, secrets: keys.Keys, stop: threading.Event) -> Servers:
        folder, logs = self._options.folder, self._logs
        cluster = folder / "postgres"
        postgres.prepare(cluster)
        database_server, admin_url = postgres.program(cluster, log=logs / "postgres.log", port=ports.assign("postgres"))
        broker, nats_url = nats.program(
            folder / "nats", log=logs / "nats.log", passwords=secrets.nats_passwords, port=ports.assign("nats")
        )
        objects, storage_url = storage.program(
            folder / "storage",
            log=logs / "storage.log",
            tokens=secrets.storage_tokens,
            buckets={BUCKET: storage.PUBLIC, STAGING_BUCKET: storage.STAGING},
            port=ports.assign("storage"),
        )
        began = self._launch({"postgres": [database_server], "nats": [broker], "storage": [objects]})
        self._wait_all_ready(["postgres"], began, stop)
        # The longest step; the other servers start meanwhile.
        database_urls = database.prepare(admin_url, secrets.database_passwords)
        self._wait_all_ready(["nats", "storage"], began, stop)
        return Servers(database_urls=database_urls, nats_url=nats_url, storage_url=storage_url)

    def _wiring(self, servers: Servers, secrets: keys.Keys, keys_file: Path, identities: Path) -> services.Wiring:
        return services.Wiring(
            settings={
                "NATS_URL": servers.nats_url,
                "BUCKET": BUCKET,
                "STAGING_BUCKET": STAGING_BUCKET,
                "PUBLIC_BASE_URL": servers.public_base_url,
                "API_BASE_URL": self.url,
                "PROVIDERS_FILE": str(self._options.providers or ""),
                "API_KEYS_FILE": str(keys_file),
                "GRPC_IDENTITIES_FILE": str(identities),
                "KEYLESS_WHILE_FREE": "" if self._options.require_auth else "true",
            },
            database_urls=servers.database_urls,
            tokens=secrets.service_tokens,
            nats_passwords=secrets.nats_passwords,
            storage_url=servers.storage_url,
            storage_tokens=secrets.storage_tokens,
            http=self._listen,
            logs=self._logs,
            replicas=self._options.replicas,
            provider_variables=variables.of_providers(self._options.providers),
        )

    def _run(self, programs: Mapping[str, list[Program]], stop: threading.Event) -> None:
        """Starts programs side by side and waits until each is ready."""
        self._wait_all_ready(list(programs), self._launch(programs), stop)

    def _launch(self, programs: Mapping[str, list[Program]]) -> float:
        """Starts programs side by side; returns when that began, by the monotonic clock."""
        began = time.monotonic()
        for name, replicas in programs.items():
            for program in replicas:
                child = Child(program)
                self._children.setdefault(name, []).append(child)
                self._supervisor.start(child)
        return began

    def _wait_all_ready(self, names: Sequence[str], began: float, stop: threading.Event) -> None:
        for name in names:
            for child in self._children[name]:
                self._wait_ready(child, stop)
                self._report(f"{child.program.name} is ready ({time.monotonic() - began:.1f} s)")

    def _wait_ready(self, child: Child, stop: threading.Event) -> None:
        try:
            child.wait_ready(QUIET_SECONDS, stop)
        except ChildSlow:
            self._report(f"{child.program.name} is slow to start; still waiting ({child.program.log})")
            child.wait_ready(START_SECONDS - QUIET_SECONDS, stop)

    def _record(self) -> None:
        """Writes the records of all processes, and the state once the stack is ready.

        At once after each start: after a crash these files are the only way to find the processes.
        """
        own = ProcessRecord.of(SUPERVISOR, os.getpid())
        running = [
            ProcessRecord.of(name, child.pid)
            for name, children in self._children.items()
            for child in children
            if child.is_alive
        ]
        write_processes(self._options.folder, [record for record in (own, *running) if record is not None])
        if self._describe is not None:
            self._describe().write(self._options.folder)

    @property
    def _logs(self) -> Path:
        return self._options.folder / "logs"
