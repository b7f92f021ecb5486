"""Leased work: slots that are filled with work that was claimed under tokens, and leases that are renewed meanwhile.

A worker chooses the tokens. A claim whose answer was lost is asked again with the same ones, and whoever hands out the
work gives the same again.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Generic, Protocol, TypeVar
from uuid import uuid4

from common.errors import ServiceError
from common.logs import event
from common.loops import pause_until, run_every

_LOG = logging.getLogger(__name__)
W = TypeVar("W")
#: Behind the hints: work is asked for so often (seconds, with jitter), whatever messages were lost.
POLL_SECONDS = 2.0
#: Without work in hand, as if a lease (seconds) were: it is soon noticed that there is one.
IDLE_LEASE = 0.5
#: Shorter waits (seconds) are not worth asking the broker for.
SHORTEST_WAIT = 0.1


class Renewal(StrEnum):
    """What became of a lease."""

    RENEWED = "renewed"
    LOST = "lost"
    CANCELED = "canceled"


@dataclass(eq=False, kw_only=True)
class Slot(Generic[W]):
    """Work in hand. `ended` is set when the lease was lost or the work canceled, `stopping` when the process stops."""

    token: str
    work: W
    #: On the monotonic clock: when the claim was asked, from which its lease counts, and when it was answered.
    claimed_at: float = field(default_factory=time.monotonic)
    given_at: float = field(default_factory=time.monotonic)
    outcome: Renewal = Renewal.RENEWED
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_held(self) -> bool:
        """Whether nobody has said that the lease is gone. Not to be able to ask is not to have lost it."""
        return not self.ended.is_set()

    @property
    def may_begin(self) -> bool:
        """Whether something new may be begun under this lease."""
        return self.is_held and not self.stopping.is_set()


class WakeUps(Protocol):
    """Says that work may be waiting."""

    async def wait(self, most: int, *, seconds: float) -> int:
        """Wait for a hint, at most so long; returns how many came, at most `most`."""


#: Seconds that a lease lasts, as whoever gave the work said.
LeaseOf = Callable[[W], float]
Claim = Callable[[Sequence[str]], Awaitable[Sequence[tuple[str, W]]]]
Renew = Callable[[Sequence[W]], Awaitable[Mapping[str, Renewal]]]
Run = Callable[[Slot[W]], Awaitable[None]]


class LeasedWork(Generic[W]):
    """Fills slots, renews their leases in one call, and empties them at the end.

    `claim` and `renew` raise `ServiceError` when they cannot be answered. `run` does the work; what it raises is
    logged, and its lease runs out.
    """

    def __init__(
        self,
        name: str,
        *,
        slots: int,
        claim: Claim[W],
        renew: Renew[W],
        run: Run[W],
        wakeups: WakeUps | None,
        lease_of: LeaseOf[W] = attrgetter("lease_seconds"),
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._name = name
        self._slots = slots
        self._lease_of = lease_of
        self._claim = claim
        self._renew = renew
        self._run = run
        self._wakeups = wakeups
        self._poll_seconds = poll_seconds
        self._busy: dict[str, Slot[W]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered: list[str] = []
        self._freed = asyncio.Event()
        self.draining = False

    @property
    def busy(self) -> int:
        """Slots with work in them."""
        return len(self._busy)

    async def work(self, stop: asyncio.Event, *, grace_seconds: float) -> None:
        """Work until told to stop; then let work in hand end, for at most the grace."""
        done = asyncio.Event()
        renewals = run_every(f"{self._name}.renewals", self.renew, interval=self._renewal_pause, stop=done, jitter=0)
        renewing = asyncio.create_task(renewals)
        try:
            while not stop.is_set():
                filled = await self.fill()
                if not filled:
                    await self._wait_for_more(stop)
            for slot in self._busy.values():
                slot.stopping.set()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=grace_seconds)
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            done.set()
            await renewing

    async def fill(self) -> bool:
        """Ask for work for every free slot; tells whether all of them were filled, so that more may be waiting."""
        free = self._slots - len(self._busy)
        if free <= 0 or self.draining:
            return False
        tokens = (self._unanswered + [str(uuid4()) for _ in range(free)])[:free]
        asked_at = time.monotonic()
        try:
            given = await self._claim(tokens)
        except ServiceError as error:
            if not self._unanswered:
                # Once per outage: it is asked again with every poll.
                event(_LOG, logging.WARNING, f"{self._name}.claim_unanswered", reason=error.reason)
            self._unanswered = tokens
            return False
        self._unanswered = []
        for token, work in given:
            if token not in self._busy:
                self._start(Slot(token=token, work=work, claimed_at=asked_at))
        return len(given) == len(tokens)

    async def renew(self) -> None:
        """Renew every lease in one call; whoever lost his is told."""
        held = [slot for slot in self._busy.values() if slot.is_held]
        if not held:
            return
        try:
            outcomes = await self._renew([slot.work for slot in held])
        except ServiceError as error:
            event(_LOG, logging.WARNING, f"{self._name}.renewal_unanswered", reason=error.reason, leases=len(held))
            return
        for slot in held:
            outcome = outcomes.get(slot.token, Renewal.RENEWED)
            if outcome is not Renewal.RENEWED:
                slot.outcome = outcome
                slot.ended.set()

    def _renewal_pause(self) -> float:
        """A third of the shortest lease in hand: two renewals may be lost."""
        return min((self._lease_of(slot.work) for slot in self._busy.values()), default=IDLE_LEASE) / 3

    def _start(self, slot: Slot[W]) -> None:
        self._busy[slot.token] = slot
        task = asyncio.create_task(self._carry(slot))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, slot: Slot[W]) -> None:
        try:
            await self._run(slot)
        except Exception:  # noqa: BLE001 - one piece of work must not end the others; its lease runs out and it is rescued
            _LOG.exception("%s.crashed", self._name)
        finally:
            del self._busy[slot.token]
            self._freed.set()

    async def _wait_for_more(self, stop: asyncio.Event) -> None:
        seconds = self._poll_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, keeps no secret
        free = self._slots - len(self._busy)
        self._freed.clear()
        if free <= 0 or self.draining or self._wakeups is None:
            await pause_until(stop, self._freed, seconds=seconds)
            return
        woken = asyncio.ensure_future(_woken(self._wakeups, free, seconds=seconds))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([woken, stopped], return_when=asyncio.FIRST_COMPLETED)
            if woken.done():
                woken.result()
        finally:
            for one in (woken, stopped):
                one.cancel()
            await asyncio.gather(woken, stopped, return_exceptions=True)


async def _woken(wakeups: WakeUps, most: int, *, seconds: float) -> None:
    """Wait for a hint for the whole of the time, though each try ends early while the broker is away."""
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > SHORTEST_WAIT:
        if await wakeups.wait(most, seconds=left):
            return
