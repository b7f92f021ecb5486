"""Strikes where jobs are: chooses a fault, waits until a job is where it is wanted, and counts what was hit."""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg2

from tests.chaos.facts import Facts
from tests.chaos.failover import BROKER, DATABASE
from tests.chaos.faults import Faults
from tests.chaos.stack import ChaosStack
from tests.chaos.tuning import LEASE_SECONDS, MONITOR_INTERVAL_SECONDS

STATES = ("queued", "processing", "generating", "uploading")
SHAPES = ("sync", "async")
#: How long a job is waited for that is where the fault is wanted.
AIM_SECONDS = 6.0
#: After the end of a worker, so long nothing else is struck.
RESCUED_SECONDS = LEASE_SECONDS + 2 * MONITOR_INTERVAL_SECONDS + 1
#: The first of so many faults is a failover, where there are any: of the database and of the broker by turns.
FAILOVER_EVERY = 5

WHERE_JOBS_ARE = """
SELECT state, provider, count(*) FROM jobs
WHERE state IN ('queued', 'processing', 'generating', 'uploading') AND provider IN ('sync', 'async')
GROUP BY state, provider
"""
HELD_BY = "SELECT id, sequence FROM jobs WHERE locked_by LIKE %s"

Cell = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Strike:
    """A fault that was made: from when until when, and which jobs its victim held at which sequence."""

    fault: str
    victims: Sequence[str]
    at: datetime
    until: datetime
    held: Sequence[tuple[str, int]] = ()

    @property
    def kinds(self) -> set[str]:
        """What was struck, whichever replica of it."""
        return {victim.partition("-")[0] for victim in self.victims}


@dataclass(kw_only=True)
class Score:
    """What was hit: one count per fault, state and shape in which a job was in flight."""

    cells: Counter[Cell] = field(default_factory=Counter)
    strikes: list[Strike] = field(default_factory=list)
    idle: list[Strike] = field(default_factory=list)
    """Faults that hit no job, which do not count."""

    @property
    def counted(self) -> int:
        """Faults that hit a job in flight."""
        return len(self.strikes)

    @property
    def all_strikes(self) -> list[Strike]:
        """Every fault in its order."""
        return sorted([*self.strikes, *self.idle], key=lambda strike: strike.at)


class Killer:
    """One fault after the other, from one seed; of those whose names the pattern `only` is found in."""

    def __init__(self, stack: ChaosStack, facts: Facts, *, seed: int, longest_outage: float, only: str = "") -> None:
        self._stack = stack
        self._dice = random.Random(seed)
        faults = Faults(stack, facts, self._dice, longest_outage=longest_outage)
        self._all = faults.by_name
        self._faults = {name: fault for name, fault in faults.by_name.items() if re.search(only, name)}
        self.unplayed = faults.unplayed
        #: How often another server took over, by the fault's name; only of the failovers that there are.
        self.failovers = faults.failovers.done
        self._pause = threading.Event()
        self._eyes: Any = None
        self.score = Score()

    @property
    def cells(self) -> list[Cell]:
        """Every cell of the matrix."""
        return [(fault, state, shape) for fault in self._faults for state in STATES for shape in SHAPES]

    def empty_cells(self, *, least: int) -> list[Cell]:
        """Cells that were hit less often."""
        return [cell for cell in self.cells if self.score.cells[cell] < least]

    def strike(self) -> None:
        """One fault, at the cell that was hit least, and the wait until what was struck works again."""
        name, state, shape = self._choose()
        self._make(name, state, shape, self._faults[name].victims())

    def restart(self, victim: str) -> None:
        """The fault that restarts a process, of one only."""
        name = f"restart {victim.partition('-')[0]}"
        self._make(name, self._dice.choice(STATES), self._dice.choice(SHAPES), [victim])

    def _make(self, name: str, state: str, shape: str, victims: Sequence[str]) -> None:
        fault = self._all[name]
        hit = self._aim(state, shape)
        held = self._held_by(victims[0]) if len(victims) == 1 else ()
        now = datetime.now(UTC)
        fault.strike(victims)
        for victim in victims:
            if self._stack.has(victim):
                self._stack.wait_ready(victim)
        strike = Strike(fault=name, victims=victims, at=now, until=datetime.now(UTC), held=held)
        (self.score.strikes if hit else self.score.idle).append(strike)
        for cell_state, cell_shape in hit:
            self.score.cells[(name, cell_state, cell_shape)] += 1
        # A rescue is measured where nothing else is struck meanwhile.
        self._pause.wait(RESCUED_SECONDS if held and name.startswith("kill") else self._dice.uniform(0.1, 1.0))

    @property
    def missing_failovers(self) -> list[str]:
        """Failovers that there are and that have not happened."""
        return [name for name in (DATABASE, BROKER) if name in self._faults and not self.failovers[name]]

    def _choose(self) -> Cell:
        failovers = [name for name in (DATABASE, BROKER) if name in self._faults]
        cells = self.cells
        if failovers and len(self.score.all_strikes) % FAILOVER_EVERY == 0:
            name = min(failovers, key=lambda one: self.failovers[one])
            cells = [cell for cell in cells if cell[0] == name]
        fewest = min(self.score.cells[cell] for cell in cells)
        return self._dice.choice([cell for cell in cells if self.score.cells[cell] == fewest])

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
