"""The faults: what each of them strikes, and how long it lasts."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import psycopg2

from tests.chaos.facts import Facts
from tests.chaos.stack import ChaosStack
from tests.chaos.tuning import LEASE_SECONDS

#: How long something is frozen or locked: longer than any lease.
FROZEN_SECONDS = LEASE_SECONDS * 1.5
KILLED = ("job", "generator", "uploader", "gateway", "postgres", "nats", "storage")
FROZEN = ("job", "generator", "uploader", "postgres", "nats")
RESTARTED = ("job", "generator", "uploader", "gateway")
LOCK_JOBS = """
SELECT id FROM jobs WHERE state IN ('queued', 'processing', 'generating', 'uploading')
ORDER BY random() LIMIT 2 FOR UPDATE SKIP LOCKED
"""
LOCK_TENANTS = "SELECT tenant FROM tenant_load ORDER BY tenant FOR UPDATE"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Whom it may strike, chosen anew each time, and how; processes by their names, or a part of the stack."""

    victims: Callable[[], Sequence[str]]
    strike: Callable[[Sequence[str]], object]


class Faults:
    """All faults of a stack, by name."""

    def __init__(self, stack: ChaosStack, facts: Facts, dice: random.Random, *, longest_outage: float) -> None:
        self._stack = stack
        self._dice = dice
        self._longest_outage = longest_outage
        self._was_away: set[str] = set()
        self._pause = threading.Event()
        self.by_name: Mapping[str, Fault] = {
            **{f"kill {kind}": _fault(self._kill, self._one_of(kind)) for kind in KILLED},
            "kill two": _fault(self._kill, self._two),
            **{f"freeze {kind}": _fault(self._freeze, self._one_of(kind)) for kind in FROZEN},
            **{f"away {kind}": _fault(self._away, self._one_of(kind)) for kind in ("storage", "nats")},
            **{f"restart {kind}": _fault(self._restart, partial(stack.names, kind)) for kind in RESTARTED},
            "wipe nats": _fault(lambda _: stack.wipe_broker(), lambda: ["nats"]),
            "cut provider": _fault(lambda _: stack.cut_providers(), lambda: ["provider"]),
            "lock jobs": _fault(lambda _: self._lock(LOCK_JOBS), lambda: ["postgres"]),
            "lock tenants": _fault(lambda _: self._lock(LOCK_TENANTS), lambda: ["postgres"]),
            "repeat facts": _fault(lambda _: facts.repeat(dice), lambda: ["facts"]),
        }

    def _one_of(self, kind: str) -> Callable[[], Sequence[str]]:
        return lambda: [self._dice.choice(self._stack.names(kind))]

    def _two(self) -> Sequence[str]:
        return self._dice.sample([name for kind in KILLED for name in self._stack.names(kind)], 2)

    def _kill(self, victims: Sequence[str]) -> None:
        for victim in victims:
            self._stack.kill(victim)

    def _restart(self, victims: Sequence[str]) -> None:
        """One after the other, each once the one before works again."""
        for victim in victims:
            self._stack.ask_to_stop(victim)
            self._stack.wait_ready(victim)

    def _freeze(self, victims: Sequence[str]) -> None:
        frozen = [pid for victim in victims for pid in self._stack.freeze(victim)]
        self._pause.wait(FROZEN_SECONDS)
        self._stack.thaw(frozen)

    def _away(self, victims: Sequence[str]) -> None:
        for victim in victims:
            self._stack.hold_down(victim)
            # Once for so long as nobody can wait for with an open call; then, as things are, for a few seconds.
            is_first = victim not in self._was_away
            self._was_away.add(victim)
            self._pause.wait(self._longest_outage if is_first else self._dice.choice((4.0, 4.0, 8.0, 15.0)))
            self._stack.let_up(victim)

    def _lock(self, statement: str) -> None:
        """As somebody with a psql of his own would."""
        connection = psycopg2.connect(self._stack.addresses.database_url, connect_timeout=3)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
            self._pause.wait(FROZEN_SECONDS)
        finally:
            connection.close()


def _fault(strike: Callable[[Sequence[str]], object], victims: Callable[[], Sequence[str]]) -> Fault:
    return Fault(victims=victims, strike=strike)
