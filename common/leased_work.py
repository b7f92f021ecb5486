"""Leased work: a worker claims work for its free slots, runs it, and renews the leases meanwhile.

The worker chooses the lease tokens. When the response to a claim is lost, the worker claims again with the same tokens,
and the server returns the same work.
"""

import asyncio
import contextvars
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
from common.telemetry import metrics, registry

_LOG = logging.getLogger(__name__)
W = TypeVar("W")
#: Seconds between two claims when no wake-up arrives (with jitter), as wake-ups may be lost.
POLL_SECONDS = 2.0
#: Stands for the shortest lease (seconds) while no slot is filled, so that the first lease is renewed in time.
IDLE_LEASE = 0.5
#: A shorter wait (seconds) is not worth a request to the broker.
SHORTEST_WAIT = 0.1


async def _no_check() -> None:
    """Changes nothing: for a slot that no `LeasedWork` renews."""


class Renewal(StrEnum):
    """Outcome of a lease's renewal."""

    #: The worker still holds the lease.
    RENEWED = "renewed"
    #: The lease has ended; another worker may have the work.
    LOST = "lost"
    #: The work was canceled.
    CANCELED = "canceled"


@dataclass(eq=False, kw_only=True)
class Slot(Generic[W]):
    """A slot filled with leased work."""

    #: Lease token, chosen by this worker.
    token: str
    #: The claimed work.
    work: W
    #: When the claim was sent, on the monotonic clock; the lease counts from this moment.
    claimed_at: float = field(default_factory=time.monotonic)
    #: When the response to the claim arrived, on the monotonic clock.
    received_at: float = field(default_factory=time.monotonic)
    #: Why the lease ended; `RENEWED` while the worker holds it.
    outcome: Renewal = Renewal.RENEWED
    #: Set when the lease was lost or the work canceled.
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when the process stops.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    #: Renews the lease at once, and sets `outcome` if it has ended; changes nothing if the call fails.
    check: Callable[[], Awaitable[None]] = _no_check

    @property
    def is_held(self) -> bool:
        """Whether no renewal has reported the lease as lost or canceled. A failed renewal call changes nothing."""
        return not self.ended.is_set()

    @property
    def may_begin(self) -> bool:
        """Whether the worker may start something new under this lease."""
        return self.is_held and not self.stopping.is_set()


class WakeUps(Protocol):
    """Receives wake-ups: messages that work may be due."""

    async def wait(self, limit: int, *, seconds: float) -> int:
        """Waits up to `seconds` for a wake-up; returns how many arrived, 0 to `limit`."""


#: Returns the seconds that the lease of a work lasts, as the server set them.
LeaseOf = Callable[[W], float]
#: Claims work under tokens; returns pairs of token and work, up to one per token.
Claim = Callable[[Sequence[str]], Awaitable[Sequence[tuple[str, W]]]]
#: Renews leases; returns the outcome per token. A missing token counts as renewed.
Renew = Callable[[Sequence[W]], Awaitable[Mapping[str, Renewal]]]
#: Does the work of a slot.
Run = Callable[[Slot[W]], Awaitable[None]]


class LeasedWork(Generic[W]):
    """Claims work for free slots, renews all leases in one call, and lets the work end when the process stops.

    `claim` and `renew` raise `ServiceError` when the call fails. An exception from `run` is logged, and the lease of
    its work expires.
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
        id_of: Callable[[W], str] = attrgetter("job_id"),
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._name = name
        self._slots = slots
        self._lease_of = lease_of
        self._id_of = id_of
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
        metrics.read(registry.WORK_SLOTS, lambda: len(self._busy), name, "busy")
        metrics.read(registry.WORK_SLOTS, lambda: slots, name, "limit")

    @property
    def busy(self) -> int:
        """Number of filled slots."""
        return len(self._busy)

    def held_ids(self) -> list[str]:
        """Returns the ids of the jobs whose work fills the slots."""
        return sorted({self._id_of(slot.work) for slot in self._busy.values()})

    async def work(self, stop: asyncio.Event, *, grace_seconds: float) -> None:
        """Works until `stop` is set; then waits up to `grace_seconds` for the running work, and cancels the rest."""
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
        """Claims work for every free slot; returns whether all were filled, as more work may be due then."""
        free = self._slots - len(self._busy)
        if free <= 0 or self.draining:
            return False
        tokens = (self._unanswered + [str(uuid4()) for _ in range(free)])[:free]
        claimed_at = time.monotonic()
        try:
            claims = await self._claim(tokens)
        except ServiceError as error:
            if not self._unanswered:
                # Logged once per outage: every poll repeats the claim.
                event(_LOG, logging.WARNING, f"{self._name}.claim_unanswered", reason=error.reason)
            self._unanswered = tokens
            return False
        self._unanswered = []
        for token, work in claims:
            if token not in self._busy:
                self._start(Slot(token=token, work=work, claimed_at=claimed_at, check=self._check))
        return len(claims) == len(tokens)

    async def renew(self) -> None:
        """Renews all leases in one call; sets `outcome` and `ended` of slots whose lease has ended."""
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
                metrics.count(registry.WORK_LEASES_ENDED, self._name, outcome.value)
                slot.ended.set()

    async def _check(self) -> None:
        # In a context of its own: a call for all slots belongs to no job's trace.
        await asyncio.create_task(self.renew(), context=contextvars.Context())

    def _renewal_pause(self) -> float:
        """Returns a third of the shortest lease in seconds: two renewals may fail."""
        return min((self._lease_of(slot.work) for slot in self._busy.values()), default=IDLE_LEASE) / 3

    def _start(self, slot: Slot[W]) -> None:
        self._busy[slot.token] = slot
        task = asyncio.create_task(self._run_slot(slot))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_slot(self, slot: Slot[W]) -> None:
        try:
            await self._run(slot)
        except Exception:  # noqa: BLE001 - must not end the other work; the lease expires, and the job is rescued
            _LOG.exception("%s.crashed", self._name)
        finally:
            del self._busy[slot.token]
            self._freed.set()

    async def _wait_for_more(self, stop: asyncio.Event) -> None:
        seconds = self._poll_seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, no secret
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
            for task in (woken, stopped):
                task.cancel()
            await asyncio.gather(woken, stopped, return_exceptions=True)


async def _woken(wakeups: WakeUps, limit: int, *, seconds: float) -> None:
    """Waits up to `seconds` for a wake-up; while the broker is unreachable, each call of `wait` returns early."""
    ends_at = time.monotonic() + seconds
    while (seconds_left := ends_at - time.monotonic()) > SHORTEST_WAIT:
        if await wakeups.wait(limit, seconds=seconds_left):
            return
