"""The stack under fire: every process is kept up as an orchestrator would, and can be killed, held down and frozen."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import psycopg2

from cli.stack.child import Child, Program
from cli.stack.ports import Ports
from cli.stack.services import SERVICES
from tests.chaos import clock, programs
from tests.chaos.links import Links
from tests.chaos.tuning import write_providers
from tests.chaos.versions import Versions
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import nats_program
from tests.support.servers.postgres_pair import PostgresPair
from tests.support.servers.reaper import reaped

#: Looks in a row after which a process that says of itself that it cannot work is ended, as a probe would.
MOST_UNWELL = 20


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where everything is."""

    gateways: Sequence[str]
    """URLs of all replicas of the gateway."""
    database_url: str
    notifier_url: str
    """The same database as the notifier sees it."""
    names: Path
    """Answers of names that flip."""
    storage_url: str
    nats_url: str
    """Several with commas between them where there is a cluster."""
    books: Path
    operations: Mapping[str, str]
    """Where each worker tells how it stands, by the name of its process."""


class ChaosStack:
    """Processes by name (`postgres`, `generator-2` ...), started again within a moment unless they are held down."""

    def __init__(self, folder: Path, *, seed: int, replicas: int, versions: Versions, failover: bool) -> None:
        self.folder = folder
        self._failover = failover
        #: The database's two servers; None for a single one, as there is without failover.
        self.pair: PostgresPair | None = None
        #: Which version each service runs.
        self.versions = versions
        self._seed = seed
        self._replicas = dict.fromkeys((service.name for service in SERVICES), replicas)
        self._children: dict[str, Child] = {}
        self._leases: dict[str, ExitStack] = {}
        self._held: set[str] = set()
        self._wiped = 0
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._keeper = threading.Thread(target=self._keep_up, daemon=True)
        self.addresses: Addresses
        self.links: Links
        #: Writes the provider file that generators read at their start.
        self.write_providers: Callable[..., None]

    def start(self) -> None:
        """Start everything, in order."""
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        ports = Ports(self.folder / "ports.json")
        servers = programs.servers(self.folder, ports, seed=self._seed, failover=self._failover)
        self._run(servers.programs)
        self.pair = servers.pair
        if self.pair is not None:
            self.pair.copy_to_standby()
            self._run({self.pair.standby: self.pair.program(self.pair.standby)})
            self.pair.wait_synchronous()
        database_urls = self.versions.prepare_database(servers.admin_url)
        writable = "" if self.pair is None else "?target_session_attrs=read-write"
        database_url = database_urls["job"] + writable
        with closing(psycopg2.connect(database_url)) as connection:
            clock.take_over(connection)
        providers = self.folder / "providers.yaml"
        self.write_providers = partial(write_providers, providers, f"http://127.0.0.1:{servers.links['provider']}")
        self.write_providers()
        services = programs.services_over_links(
            self.folder, ports, servers, database_urls=database_urls, providers=providers, replicas=self._replicas
        )
        self._run({"links": services.links})
        self.links = Links(services.control)
        begun = self.versions.begin(services.programs)
        self._run({name: program for name, program in begun.items() if name.startswith("job")})
        self._run({name: program for name, program in begun.items() if not name.startswith("job")})
        self.addresses = Addresses(
            gateways=[f"http://{address}" for address in services.gateways],
            database_url=database_url,
            notifier_url=database_urls["notifier"] + writable,
            names=programs.names_of(self.folder),
            storage_url=servers.storage_url,
            nats_url=servers.nats_url,
            books=servers.books,
            operations={
                name: program.environment["CALOTYPE_GRPC_LISTEN"]
                for name, program in services.programs.items()
                if name.startswith(("generator", "uploader", "notifier"))
            },
        )
        self._keeper.start()

    @property
    def database(self) -> str:
        """Name of the process that takes the database's writes."""
        return "postgres" if self.pair is None else self.pair.primary

    def names(self, kind: str) -> list[str]:
        """Processes of a kind."""
        return [name for name in self._children if name.partition("-")[0] == kind]

    def has(self, name: str) -> bool:
        """Whether there is such a process."""
        return name in self._children

    def pid(self, name: str) -> int:
        """Process number of the last start."""
        return self._children[name].pid

    def family(self, name: str) -> list[psutil.Process]:
        """A process and its children, as they are now."""
        try:
            first = psutil.Process(self._children[name].pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self, name: str) -> None:
        """End it at once; it is started again."""
        with self._lock:
            self._children[name].kill()

    def change_version(self, name: str) -> None:
        """Let its next starts be of the other version, where there is one."""
        with self._lock:
            child = self._children[name]
            child.program = self.versions.change(name, child.program)

    def replace_version(self, name: str) -> None:
        """Let its next starts be of the newer version, for good."""
        with self._lock:
            self._children[name].program = self.versions.replace(name)

    def request_stop(self, name: str) -> None:
        """Let it end in an orderly way, and wait for that; it is started again."""
        child, pid = self._children[name], self.pid(name)
        child.request_stop()
        deadline = time.monotonic() + PATIENCE
        while child.is_alive and child.pid == pid and time.monotonic() < deadline:
            self._stop.wait(0.05)

    def hold_down(self, name: str) -> None:
        """End it at once, and leave it so."""
        with self._lock:
            self._held.add(name)
            self._children[name].kill()

    def let_up(self, name: str) -> None:
        """Let it be started again."""
        with self._lock:
            self._held.discard(name)

    def wipe_broker(self) -> None:
        """Take the broker everything that it held, and start it again; what it held is kept aside."""
        self.hold_down("nats")
        store = self.folder / "nats" / "store"
        if store.exists():
            self._wiped += 1
            (self.folder / f"wiped-{self._wiped}").mkdir()
            store.rename(self.folder / f"wiped-{self._wiped}" / "store")
        self.let_up("nats")

    @contextmanager
    def brokers(self) -> Iterator[list[str]]:
        """URLs of brokers with all that was ever held, oldest first; the last is the stack's own."""
        with ExitStack() as stack:
            urls = []
            for number in range(1, self._wiped + 1):
                program, url = nats_program(self.folder / f"wiped-{number}", log=programs.log_of(self.folder, "wiped"))
                child = Child(program)
                child.start()
                stack.callback(child.kill)
                child.wait_ready(PATIENCE)
                urls.append(url)
            yield [*urls, self.addresses.nats_url]

    def freeze(self, name: str) -> list[int]:
        """Stop it and its children where they are; they notice nothing. Returns the process numbers."""
        with self._lock:
            family = self.family(name)
            for process in family:
                _signal(process.pid, signal.SIGSTOP)
        return [process.pid for process in family]

    def thaw(self, pids: list[int]) -> None:
        """Let frozen processes go on."""
        for pid in pids:
            _signal(pid, signal.SIGCONT)

    def wait_ready(self, name: str, *, seconds: float = PATIENCE) -> None:
        """Wait until it does its work. Raises `AssertionError`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            child = self._children[name]
            if child.is_alive and child.program.is_ready():
                return
            self._stop.wait(0.05)
        raise AssertionError(f"{name} was not ready within {seconds:.0f} s; see {self.folder / 'logs'}")

    def stop(self) -> None:
        """End everything."""
        self._stop.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        for name in [*self._children]:
            if self._children[name].is_alive:
                self.thaw([process.pid for process in self.family(name)])
        for children in (
            ("gateway", "generator", "uploader", "notifier"),
            ("job",),
            ("links", "nats", "storage", "paid", "postgres"),
        ):
            chosen = [self._children[name] for kind in children for name in self.names(kind)]
            for child in chosen:
                child.request_stop()
            for child in chosen:
                child.stop(8.0)
        for lease in self._leases.values():
            lease.close()

    def _run(self, chosen: Mapping[str, Program]) -> None:
        for name, program in chosen.items():
            self._children[name] = Child(program)
            self._start(name)
        for name in chosen:
            self._children[name].wait_ready(PATIENCE)

    def _start(self, name: str) -> None:
        child = self._children[name]
        child.start()
        if name in self._leases:
            self._leases[name].close()
        self._leases[name] = ExitStack()
        self._leases[name].enter_context(reaped(child.pid))

    def _keep_up(self) -> None:
        unwell = Counter[str]()
        while not self._stop.wait(0.1):
            for name, child in self._children.items():
                # Asked without the lock: who is frozen answers late.
                is_unwell = child.program.is_well is not None and child.program.is_well() is False
                unwell[name] = unwell[name] + 1 if is_unwell else 0
                with self._lock:
                    if unwell[name] > MOST_UNWELL:
                        child.kill()
                    if not child.is_alive and name not in self._held:
                        self._start(name)


@contextmanager
def chaos_stack(
    folder: Path, *, seed: int, replicas: int, versions: Versions | None = None, failover: bool = False
) -> Iterator[ChaosStack]:
    """A running stack with so many of each service, of this version unless others are given.

    With failover, the database has a synchronous standby, and the broker is a cluster of three.
    """
    versions = versions or Versions(None, upgrades=False)
    stack = ChaosStack(folder, seed=seed, replicas=replicas, versions=versions, failover=failover)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        # It ended meanwhile; there is nothing to freeze.
        return
