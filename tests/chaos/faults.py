"""The faults: what each of them strikes, and how long it lasts."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tests.chaos.clock import STEP_SECONDS
from tests.chaos.database import LOCK_JOBS, LOCK_TENANTS, DatabaseFaults, can_lack_room, without_room
from tests.chaos.facts import Facts
from tests.chaos.failover import BROKER, DATABASE, Failovers
from tests.chaos.links import Condition
from tests.chaos.stack import ChaosStack
from tests.chaos.tuning import AT_ONCE_ELSEWHERE, LEASE_SECONDS

#: How long something is frozen or locked: longer than any lease.
FROZEN_SECONDS = LEASE_SECONDS * 1.5
#: How long connections break: longer than a few tries.
BREAKING_SECONDS = 2.0
#: How long a server is away, in seconds.
OUTAGES = (4.0, 4.0, 8.0, 15.0)
KILLED = ("job", "generator", "uploader", "notifier", "gateway", "postgres", "nats", "storage")
FROZEN = ("job", "generator", "uploader", "notifier", "gateway", "postgres", "nats", "storage")
RESTARTED = ("job", "generator", "uploader", "notifier", "gateway")
LINKS = ("job", "postgres", "nats", "storage", "provider")


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
        database = DatabaseFaults(stack, seconds=FROZEN_SECONDS)
        self.failovers = Failovers(stack, facts)
        #: What this machine cannot play, with the reason.
        self.unplayed: dict[str, str] = {}
        self.by_name: Mapping[str, Fault] = {
            **{f"kill {kind}": _fault(self._kill, self._one_of(kind)) for kind in KILLED},
            "kill two": _fault(self._kill, self._two),
            **{f"freeze {kind}": _fault(self._freeze, self._one_of(kind)) for kind in FROZEN},
            **{f"away {kind}": _fault(self._away, self._one_of(kind)) for kind in ("storage", "nats")},
            **{f"restart {kind}": _fault(self._restart, partial(stack.names, kind)) for kind in RESTARTED},
            **{f"cut {link}": _on(link, stack.links.cut) for link in LINKS},
            **{f"slow {link}": _on(link, self._slow) for link in LINKS},
            **{f"one way {link}": _on(link, self._one_way) for link in LINKS},
            **{f"break {link}": _on(link, self._break) for link in LINKS},
            "refuse storage": _on("storage", self._refuse),
            **self._of_brokers(),
            **self._full(database),
            "lock jobs": _on("postgres", lambda _: database.lock(LOCK_JOBS)),
            "lock tenants": _on("postgres", lambda _: database.lock(LOCK_TENANTS)),
            "all connections": _on("postgres", lambda _: database.take_all_connections()),
            "clock forward": _on("clock", lambda _: database.set_clock(STEP_SECONDS)),
            "clock back": _on("clock", lambda _: database.set_clock(-STEP_SECONDS)),
            "repeat facts": _on("facts", lambda _: facts.repeat(dice)),
            "poison facts": _on("facts", lambda _: facts.poison(dice)),
            "change providers": _fault(self._change_providers, self._one_of("generator")),
        }

    def _one_of(self, kind: str) -> Callable[[], Sequence[str]]:
        return lambda: [self._dice.choice(self._stack.names(kind))]

    def _two(self) -> Sequence[str]:
        return self._dice.sample([name for kind in KILLED for name in self._stack.names(kind)], 2)

    def _kill(self, victims: Sequence[str]) -> None:
        for victim in victims:
            self._stack.kill(victim)

    def _restart(self, victims: Sequence[str]) -> None:
        """One after the other, each once the one before works again; from one version to the other and back."""
        for victim in victims:
            self._stack.change_version(victim)
            self._stack.request_stop(victim)
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
            self._pause.wait(self._longest_outage if is_first else self._dice.choice(OUTAGES))
            self._stack.let_up(victim)

    def _slow(self, link: str) -> None:
        self._be(link, Condition.SLOW, FROZEN_SECONDS)

    def _one_way(self, link: str) -> None:
        self._be(link, self._dice.choice((Condition.UNHEARD, Condition.UNANSWERED)), FROZEN_SECONDS)

    def _break(self, link: str) -> None:
        self._be(link, Condition.BREAKING, BREAKING_SECONDS)

    def _refuse(self, link: str) -> None:
        self._be(link, Condition.UNWELL, FROZEN_SECONDS)

    def _be(self, link: str, condition: Condition, seconds: float) -> None:
        with self._stack.links.being(link, condition):
            self._pause.wait(seconds)

    def _of_brokers(self) -> dict[str, Fault]:
        """What may befall a single broker, or the database's two servers and the three of a cluster."""
        if self._stack.pair is None:
            return {"wipe nats": _on("nats", lambda _: self._stack.wipe_broker())}
        # What the servers of a cluster held cannot be read by one that is alone.
        self.unplayed["wipe nats"] = "three servers hold what one loses"
        return {
            DATABASE: _fault(lambda _: self.failovers.database(), lambda: [self._stack.database]),
            BROKER: _fault(
                lambda _: self.failovers.broker(seconds=self._dice.choice(OUTAGES)),
                lambda: [self.failovers.leader()],
            ),
        }

    def _full(self, database: DatabaseFaults) -> dict[str, Fault]:
        """Full disks, of those whose processes may be limited by this one."""
        found: dict[str, tuple[Callable[[], Sequence[str]], Callable[[Sequence[str]], object]]] = {
            "full nats": (self._one_of("nats"), self._fill_broker),
            "full postgres": (lambda: [self._stack.database], lambda _: database.fill_disk()),
        }
        limited = {name for name, (victims, _) in found.items() if can_lack_room(self._stack.family(victims()[0]))}
        self.unplayed |= dict.fromkeys(found.keys() - limited, "no prlimit, or not allowed")
        return {name: _fault(strike, victims) for name, (victims, strike) in found.items() if name in limited}

    def _fill_broker(self, victims: Sequence[str]) -> None:
        """It refuses to write, and goes on so when there is room again, until it is started again."""
        with without_room(self._stack.family(victims[0])):
            self._pause.wait(FROZEN_SECONDS)

    def _change_providers(self, victims: Sequence[str]) -> None:
        """One generator works with another provider file for a while."""
        self._stack.write_providers(at_once=AT_ONCE_ELSEWHERE, has_async=self._dice.random() < 0.5)
        self._restart(victims)
        self._stack.write_providers()
        self._pause.wait(FROZEN_SECONDS)
        self._restart(victims)


def _fault(strike: Callable[[Sequence[str]], object], victims: Callable[[], Sequence[str]]) -> Fault:
    return Fault(victims=victims, strike=strike)


def _on(victim: str, strike: Callable[[str], object]) -> Fault:
    """A fault that strikes always the same."""
    return Fault(victims=lambda: [victim], strike=lambda _: strike(victim))
