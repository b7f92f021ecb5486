"""Strikes where jobs are: chooses a fault, waits until a job is where it is wanted, and counts what was hit."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg2

from tests.chaos.stack import LEASE_SECONDS, MONITOR_INTERVAL_SECONDS, ChaosStack

STATES = ("queued", "processing", "generating", "uploading")
SHAPES = ("sync", "async")
#: How long something is frozen: longer than any lease.
FROZEN_SECONDS = LEASE_SECONDS * 1.5
#: How long a job is waited for that is where the fault is wanted.
AIM_SECONDS = 6.0
#: After the end of a worker, so long nothing else is struck.
RESCUED_SECONDS = LEASE_SECONDS + 2 * MONITOR_INTERVAL_SECONDS + 1

WHERE_JOBS_ARE = """
SELECT state, provider, count(*) FROM jobs
WHERE state IN ('queued', 'processing', 'generating', 'uploading') AND provider IN ('sync', 'async')
GROUP BY state, provider
"""
HELD_BY = "SELECT id, sequence FROM jobs WHERE locked_by LIKE %s"

Cell = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Strike:
    """A fault that was made: when, by this machine's clock, and which jobs its victim held at which sequence."""

    fault: str
    victim: str
    at: datetime
    held: Sequence[tuple[str, int]] = ()


@dataclass(kw_only=True)
class Score:
    """What was hit: one count per fault, state and shape in which a job was in flight."""

    cells: Counter[Cell] = field(default_factory=Counter)
    strikes: list[Strike] = field(default_factory=list)
    idle: int = 0
    """Faults that hit no job, which do not count."""

    @property
    def counted(self) -> int:
        """Faults that hit a job in flight."""
        return len(self.strikes)


class Killer:
    """One fault after the other, from one seed."""

    def __init__(self, stack: ChaosStack, *, seed: int, longest_outage: float) -> None:
        self._stack = stack
        self._dice = random.Random(seed)
        self._longest_outage = longest_outage
        self._was_away: set[str] = set()
        self._pause = threading.Event()
        self._eyes: Any = None
        self.score = Score()
        self._faults: dict[str, Callable[[str], None]] = {
            **{f"kill {kind}": self._kill for kind in ("job", "generator", "uploader", "gateway")},
            **{f"kill {kind}": self._kill for kind in ("postgres", "nats", "storage")},
            **{f"freeze {kind}": self._freeze for kind in ("job", "generator", "uploader", "postgres", "nats")},
            **{f"away {kind}": self._away for kind in ("storage", "nats")},
            "wipe nats": self._wipe,
            "cut provider": self._cut,
        }

    @property
    def cells(self) -> list[Cell]:
        """Every cell of the matrix."""
        return [(fault, state, shape) for fault in self._faults for state in STATES for shape in SHAPES]

    def empty_cells(self, *, least: int) -> list[Cell]:
        """Cells that were hit less often."""
        return [cell for cell in self.cells if self.score.cells[cell] < least]

    def strike(self) -> None:
        """One fault, at the cell that was hit least, and the wait until what was struck works again."""
        fault, state, shape = self._choose()
        kind = fault.partition(" ")[2]
        victim = self._dice.choice(self._stack.names(kind)) if kind != "provider" else "paid"
        hit = self._aim(state, shape)
        held = self._held_by(victim)
        now = datetime.now(UTC)
        self._faults[fault](victim)
        if hit:
            self.score.strikes.append(Strike(fault=fault, victim=victim, at=now, held=held))
            for cell_state, cell_shape in hit:
                self.score.cells[(fault, cell_state, cell_shape)] += 1
        else:
            self.score.idle += 1
        if kind != "provider":
            self._stack.wait_ready(victim)
        # A rescue is measured where nothing else is struck meanwhile.
        self._pause.wait(RESCUED_SECONDS if held and fault.startswith("kill") else self._dice.uniform(0.1, 1.0))

    def _choose(self) -> Cell:
        fewest = min(self.score.cells[cell] for cell in self.cells)
        return self._dice.choice([cell for cell in self.cells if self.score.cells[cell] == fewest])

    def _aim(self, state: str, shape: str) -> set[tuple[str, str]]:
        """Where jobs are at the moment of the strike, once one is where it is wanted or the wait is over."""
        deadline = time.monotonic() + AIM_SECONDS
        while True:
            found = {(row[0], row[1]) for row in self._ask(WHERE_JOBS_ARE)}
            if (state, shape) in found or time.monotonic() > deadline:
                return found
            self._pause.wait(0.002)

    def _held_by(self, victim: str) -> Sequence[tuple[str, int]]:
        if victim.partition("-")[0] not in ("generator", "uploader"):
            return ()
        return [(row[0], row[1]) for row in self._ask(HELD_BY, f"%/{self._stack.pid(victim)}")]

    def _ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Look into the database; while it is away nothing is seen."""
        try:
            if self._eyes is None:
                self._eyes = psycopg2.connect(self._stack.addresses.database_url, connect_timeout=3)
                self._eyes.autocommit = True
            with self._eyes.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall())
        except psycopg2.Error:
            self._eyes = None
            return []

    def _kill(self, victim: str) -> None:
        self._stack.kill(victim)

    def _freeze(self, victim: str) -> None:
        frozen = self._stack.freeze(victim)
        self._pause.wait(FROZEN_SECONDS)
        self._stack.thaw(frozen)

    def _away(self, victim: str) -> None:
        self._stack.hold_down(victim)
        # Once for so long as nobody can wait for with an open call; then, as things are, for a few seconds.
        is_first = victim not in self._was_away
        self._was_away.add(victim)
        self._pause.wait(self._longest_outage if is_first else self._dice.choice((4.0, 4.0, 8.0, 15.0)))
        self._stack.let_up(victim)

    def _wipe(self, victim: str) -> None:
        self._stack.wipe_broker()

    def _cut(self, victim: str) -> None:
        self._stack.cut_providers()
