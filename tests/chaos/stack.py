"""The stack under fire: every process is kept up as an orchestrator would, and can be killed, held down and frozen."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from cli.stack import database, nats, postgres, services, storage
from cli.stack.child import Child, Program
from cli.stack.embedded import BUCKET, STAGING_BUCKET
from cli.stack.ports import Ports
from cli.stack.probes import http_answer, http_ok
from tests.chaos.tuning import REPLICAS, TUNING, write_keys, write_providers
from tests.support.paid_server import KEY
from tests.support.patience import PATIENCE
from tests.support.reaper import reaped

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where everything is."""

    http: str
    database_url: str
    storage_url: str
    paid_url: str
    nats_url: str
    books: Path
    operations: Mapping[str, str]
    """Where each worker tells how it stands, by the name of its process."""


class ChaosStack:
    """Processes by name (`postgres`, `generator-2` ...), started again within a moment unless they are held down."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.folder = folder
        self._seed = seed
        self._children: dict[str, Child] = {}
        self._leases: dict[str, ExitStack] = {}
        self._held: set[str] = set()
        self._wiped = 0
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._keeper = threading.Thread(target=self._keep_up, daemon=True)
        self.addresses: Addresses

    def start(self) -> None:
        """Start everything, in order."""
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        ports = Ports(self.folder / "ports.json")
        paid_port = ports.take("paid")
        paid_url = f"http://127.0.0.1:{paid_port}"
        postgres.prepare(self.folder / "postgres")
        truth, admin = postgres.program(
            self.folder / "postgres", log=self._log("postgres"), port=ports.take("postgres")
        )
        broker, nats_url = nats.program(
            self.folder / "nats", log=self._log("nats"), port=ports.take("nats"), monitor=ports.take("monitor")
        )
        objects, storage_url = storage.program(
            self.folder / "storage", log=self._log("storage"), port=ports.take("storage")
        )
        self._run({"paid": self._paid(paid_port), "postgres": truth, "nats": broker, "storage": objects})
        for bucket in (BUCKET, STAGING_BUCKET):
            storage.make_bucket(storage_url, bucket)
        database_url = database.prepare(admin, "chaos")
        http = f"127.0.0.1:{ports.take('http')}"
        providers = write_providers(self.folder / "providers.yaml", paid_url)
        keys = write_keys(self.folder / "keys.yaml")
        wiring = services.Wiring(
            tokens={},
            settings={
                "DATABASE_URL": database_url,
                "NATS_URL": nats_url,
                "BUCKET": BUCKET,
                "STAGING_BUCKET": STAGING_BUCKET,
                "PUBLIC_BASE_URL": f"{storage_url}/{BUCKET}",
                "PROVIDERS_FILE": str(providers),
                "API_KEYS_FILE": str(keys),
            },
            storage_url=storage_url,
            http=http,
            logs=self.folder / "logs",
            replicas=REPLICAS,
        )
        assembled = services.assemble(wiring, ports)
        tuning = {f"CALOTYPE_{name}": value for name, value in TUNING.items()} | {"PAID_API_KEY": KEY}
        tuned = {
            f"{name}-{number}": replace(program, environment={**program.environment, **tuning})
            for name, replicas in assembled.programs.items()
            for number, program in enumerate(replicas, start=1)
        }
        self._run({name: program for name, program in tuned.items() if name.startswith("job")})
        self._run({name: program for name, program in tuned.items() if not name.startswith("job")})
        self.addresses = Addresses(
            http=f"http://{http}",
            database_url=database_url,
            storage_url=storage_url,
            paid_url=paid_url,
            nats_url=nats_url,
            books=self.folder / "books.jsonl",
            operations={
                name: program.environment["CALOTYPE_GRPC_LISTEN"]
                for name, program in tuned.items()
                if name.startswith(("generator", "uploader"))
            },
        )
        self._keeper.start()

    def names(self, kind: str) -> list[str]:
        """Processes of a kind."""
        return [name for name in self._children if name.partition("-")[0] == kind]

    def has(self, name: str) -> bool:
        """Whether there is such a process."""
        return name in self._children

    def pid(self, name: str) -> int:
        """Process number of the last start."""
        return self._children[name].pid

    def kill(self, name: str) -> None:
        """End it at once; it is started again."""
        with self._lock:
            self._children[name].kill()

    def ask_to_stop(self, name: str) -> None:
        """Let it end in an orderly way, and wait for that; it is started again."""
        child, pid = self._children[name], self.pid(name)
        child.ask_to_stop()
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
                program, url = nats.program(self.folder / f"wiped-{number}", log=self._log("wiped"))
                child = Child(program)
                child.start()
                stack.callback(child.kill)
                child.wait_ready(PATIENCE)
                urls.append(url)
            yield [*urls, self.addresses.nats_url]

    def freeze(self, name: str) -> list[int]:
        """Stop it and its children where they are; they notice nothing. Returns the process numbers."""
        with self._lock:
            family = self._family(name)
            for process in family:
                _signal(process.pid, signal.SIGSTOP)
        return [process.pid for process in family]

    def thaw(self, pids: list[int]) -> None:
        """Let frozen processes go on."""
        for pid in pids:
            _signal(pid, signal.SIGCONT)

    def cut_providers(self) -> int:
        """Break the connections of purchases that were read and are not answered; how many there were."""
        answer = http_answer(f"{self.addresses.paid_url}/cut", method="POST", json=b"{}", seconds=PATIENCE)
        return 0 if answer is None else int(json.loads(answer[1])["cut"])

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
                self.thaw([process.pid for process in self._family(name)])
        for children in (("gateway", "generator", "uploader"), ("job",), ("nats", "storage", "paid", "postgres")):
            chosen = [self._children[name] for kind in children for name in self.names(kind)]
            for child in chosen:
                child.ask_to_stop()
            for child in chosen:
                child.stop(8.0)
        for lease in self._leases.values():
            lease.close()

    def _run(self, programs: Mapping[str, Program]) -> None:
        for name, program in programs.items():
            self._children[name] = Child(program)
            self._start(name)
        for name in programs:
            self._children[name].wait_ready(PATIENCE)

    def _start(self, name: str) -> None:
        child = self._children[name]
        child.start()
        if name in self._leases:
            self._leases[name].close()
        self._leases[name] = ExitStack()
        self._leases[name].enter_context(reaped(child.pid))

    def _keep_up(self) -> None:
        while not self._stop.wait(0.1):
            with self._lock:
                for name, child in self._children.items():
                    if not child.is_alive and name not in self._held:
                        self._start(name)

    def _family(self, name: str) -> list[psutil.Process]:
        try:
            first = psutil.Process(self._children[name].pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _paid(self, port: int) -> Program:
        books = self.folder / "books.jsonl"
        path = os.pathsep.join((str(ROOT), str(ROOT / "proto")))
        return Program(
            name="paid",
            command=(sys.executable, "-m", "tests.support.paid_server", str(port), str(books), str(self._seed)),
            environment={**os.environ, "PYTHONPATH": path},
            log=self._log("paid"),
            is_ready=lambda: http_ok(f"http://127.0.0.1:{port}/ready"),
        )

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"


@contextmanager
def chaos_stack(folder: Path, *, seed: int) -> Iterator[ChaosStack]:
    """A running stack."""
    stack = ChaosStack(folder, seed=seed)
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
