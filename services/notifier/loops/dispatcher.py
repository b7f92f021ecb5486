"""The dispatcher: claims due deliveries for free slots, has them sent, and records what came of it."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial

from common.errors import DependencyUnavailable, ServiceError
from common.ids import prefixed
from common.logs import event
from common.loops import run_every
from common.postgres import Database
from services.notifier.application import attempts
from services.notifier.domain.endpoints import SlotShare
from services.notifier.loops.sending import SEND_SECONDS, Attempts, ids_of
from services.notifier.loops.slots import AttemptSlot, Slots
from services.notifier.ports import EventKey, JobPayload, JobService, Sender
from services.notifier.store import claims
from services.notifier.store.claims import DeliveryClaim, Wanted
from services.notifier.store.pools import Pool

_LOG = logging.getLogger(__name__)
#: Seconds between two claims without a wake-up.
POLL_SECONDS = 1.0
#: Shortest seconds between two claims: slots that become free in this time are filled by one.
COALESCED_SECONDS = 0.005
#: Deliveries of one claim and share.
MAX_CLAIMED = 64
#: Deliveries whose jobs are read at once.
JOBS_AT_ONCE = 25
#: Seconds for that.
JOBS_SECONDS = 10.0
#: Seconds after a claim within which an attempt begins: it ends before its lease does.
BEGIN_SECONDS = claims.LEASE_SECONDS - SEND_SECONDS
#: Seconds without claims after job-service did not respond.
AWAY_SECONDS = 1.0


class Dispatcher:
    """Delivers in every replica: a delivery is sent by the process that holds its lease.

    Woken by fan-out, by changes of clients, and by each attempt that ends. `noticed` is called after an endpoint's
    health changed so that the tenant's other endpoints are notified.
    """

    def __init__(
        self,
        database: Database,
        job_service: JobService,
        sender: Sender,
        *,
        slots: int,
        per_minute: int,
        noticed: Callable[[], object],
    ) -> None:
        self._database = database
        self._job_service = job_service
        self._slots = Slots(slots)
        self._per_minute = per_minute
        self._woken = asyncio.Event()
        self._stopping = False
        self._away_until = 0.0
        self._is_database_away = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._held_ids: set[str] = set()
        #: Attempts and their outcomes since the start, by name.
        self.counters: Counter[str] = Counter()
        self._attempts = Attempts(database, sender, self._slots, self.counters, noticed=noticed, freed=self.wake)
        #: Whether nothing is claimed any more, although the process runs.
        self.draining = False

    @property
    def busy(self) -> int:
        """Number of attempts under way."""
        return self._slots.used

    def held_ids(self) -> list[str]:
        """Returns the ids of the deliveries under way."""
        return sorted(self._held_ids)

    def wake(self) -> None:
        """Signals that a delivery may be due."""
        self._woken.set()

    async def work(self, stop: asyncio.Event, *, grace_seconds: float) -> None:
        """Delivers until `stop` is set; then waits up to `grace_seconds` for attempts under way, and cancels the rest.

        A canceled attempt is repeated when its lease has ended.
        """

        async def claim() -> Mapping[str, int]:
            await asyncio.sleep(COALESCED_SECONDS)
            self._woken.clear()
            return await self.run_once()

        claiming = asyncio.create_task(
            run_every("dispatcher", claim, interval=POLL_SECONDS, wake=self._woken, stop=stop)
        )
        try:
            await stop.wait()
            self._stopping = True
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await asyncio.wait({claiming})
                    await self.settle()
        finally:
            for task in (claiming, *self._tasks):
                task.cancel()
            await asyncio.gather(claiming, *self._tasks, return_exceptions=True)

    async def run_once(self) -> Mapping[str, int]:
        """Claims until no slot is free or nothing is due; returns the number of claimed deliveries."""
        claimed = 0
        try:
            while count := await self._claim():
                claimed += count
        except DependencyUnavailable as error:
            # Logged once per outage. The next poll follows soon: receivers wait.
            if not self._is_database_away:
                event(_LOG, logging.WARNING, "dispatcher.postponed", reason=str(error))
            self._is_database_away = True
        else:
            self._is_database_away = False
        return {"claimed": claimed}

    async def settle(self) -> None:
        """Waits until no attempt is under way, and none is about to begin."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _claim(self) -> int:
        if self.draining or self._stopping or time.monotonic() < self._away_until:
            return 0
        wanted = {
            share: Wanted(limit=min(free, MAX_CLAIMED), crowded=self._slots.crowded(share))
            for share in SlotShare
            if (free := self._slots.free(share)) > 0
        }
        until = _now() + BEGIN_SECONDS
        work = partial(claims.claim_shares, wanted=wanted, per_minute=self._per_minute)
        claimed = await self._database.run(work, pool=Pool.CLAIMS) if wanted else []
        if claimed:
            self._held_ids |= {prefixed("msg", claim.delivery.id) for claim in claimed}
            held = [(claim, self._slots.take(claim.delivery.tenant, claim.delivery.share)) for claim in claimed]
            for first in range(0, len(held), JOBS_AT_ONCE):
                self._start(self._deliver(held[first : first + JOBS_AT_ONCE], until))
        return len(claimed)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, held: Sequence[tuple[DeliveryClaim, AttemptSlot]], until: float) -> None:
        """Starts the attempts of a claim; without job-service, those of jobs are released.

        After `until`, a time of the loop, all are released.
        """
        keys = {key for claim, _ in held if (key := _key_of(claim)) is not None}
        jobs: Mapping[EventKey, JobPayload] = {}
        try:
            if keys:
                async with asyncio.timeout(JOBS_SECONDS):
                    jobs = await self._job_service.jobs(keys)
        except (ServiceError, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            event(_LOG, logging.WARNING, "jobs.not_read", reason=str(error), deliveries=len(keys))
            await self._release([pair for pair in held if _key_of(pair[0]) is not None])
            held = [pair for pair in held if _key_of(pair[0]) is None]
        except Exception:  # noqa: BLE001 - a job that cannot be read must hold up no others
            _LOG.exception("jobs.read_failed", extra={"deliveries": len(keys)})
            if len(held) > 1:
                for pair in held:
                    self._start(self._deliver([pair], until))
                return
        if _now() > until:
            # The process stood still, or the database was slow: another process may hold the deliveries by now.
            event(_LOG, logging.WARNING, "deliveries.claim_expired", deliveries=len(held))
            await self._release(held)
            return
        for claim, slot in held:
            self._start(self._attempt(claim, slot, _payload(claim, jobs)))

    async def _attempt(self, claim: DeliveryClaim, slot: AttemptSlot, payload: JobPayload | None) -> None:
        try:
            if payload is None:
                event(_LOG, logging.WARNING, "delivery.abandoned", **ids_of(claim.delivery))
                work = partial(attempts.give_up, delivery=claim.delivery)
                await self._database.run(work, pool=Pool.OUTCOMES)
            else:
                await self._attempts.make(claim, slot, payload)
        except DependencyUnavailable as error:
            event(_LOG, logging.WARNING, "delivery.not_recorded", **ids_of(claim.delivery), reason=str(error))
        except Exception:  # noqa: BLE001 - must not end the other attempts; the lease ends
            _LOG.exception("delivery.crashed", extra=ids_of(claim.delivery))
        finally:
            self._give_back([(claim, slot)])

    async def _release(self, held: Sequence[tuple[DeliveryClaim, AttemptSlot]]) -> None:
        deliveries = [claim.delivery for claim, _ in held]
        try:
            await self._database.run(partial(claims.release, deliveries=deliveries), pool=Pool.OUTCOMES)
        except DependencyUnavailable as error:
            event(_LOG, logging.WARNING, "dispatcher.not_released", reason=str(error))
        finally:
            self._give_back(held)

    def _give_back(self, held: Sequence[tuple[DeliveryClaim, AttemptSlot]]) -> None:
        for claim, slot in held:
            self._slots.give_back(slot)
            self._held_ids.discard(prefixed("msg", claim.delivery.id))
        self._woken.set()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _payload(claim: DeliveryClaim, jobs: Mapping[EventKey, JobPayload]) -> JobPayload | None:
    """Returns what a delivery contains; None for a job that job-service does not know."""
    key, data = _key_of(claim), claim.delivery.data
    if key is not None:
        return jobs.get(key)
    return None if data is None else JobPayload(json=data)


def _key_of(claim: DeliveryClaim) -> EventKey | None:
    """Returns job and sequence of a delivery; None for an event of an endpoint."""
    delivery = claim.delivery
    if delivery.job_id is None or delivery.sequence is None:
        return None
    return delivery.job_id, delivery.sequence
