"""One attempt: the request to the receiver, and the record of its outcome."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from common.errors import DependencyUnavailable
from common.ids import prefixed
from common.logs import event
from common.postgres import Database
from common.sql import Connection
from common.telemetry import metrics, registry
from common.tracing import Attributes, fail, span, traceparent
from services.notifier.application import attempts, payloads
from services.notifier.application.attempts import Recorded
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.deliveries import ClaimedDelivery
from services.notifier.domain.endpoints import SlotShare
from services.notifier.domain.health import SLOW_MS
from services.notifier.loops.slots import AttemptSlot, Slots
from services.notifier.ports import JobPayload, Sender
from services.notifier.store import endpoints, readiness
from services.notifier.store.claims import DeliveryClaim
from services.notifier.store.pools import Pool

_LOG = logging.getLogger(__name__)
#: Seconds after which an attempt gives its slot free.
OVERRUN_SECONDS = 0.5
#: Seconds after which an attempt is given up; a sender's own deadline is earlier.
SEND_SECONDS = 30.0
#: Seconds for which an outcome that could not be recorded is tried again; then the lease ends soon.
RECORD_SECONDS = 15.0
#: Seconds between two tries.
RECORD_PAUSE = 0.5


class Attempts:
    """Makes attempts; counts them by outcome in `counters`. `freed` is called when an attempt frees its slot early."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        slots: Slots,
        counters: "Counter[str]",
        *,
        noticed: Callable[[], object],
        freed: Callable[[], object],
    ) -> None:
        self._database = database
        self._sender = sender
        self._slots = slots
        self._counters = counters
        self._noticed = noticed
        self._freed = freed

    async def make(self, claim: DeliveryClaim, slot: AttemptSlot, payload: JobPayload) -> None:
        """Makes an attempt with a payload, in the trace of its job, and records its outcome.

        Raises `DependencyUnavailable` if the outcome could not be recorded: then the attempt is repeated.
        """
        delivery = claim.delivery
        attributes: Attributes = {
            registry.JOB_ID: delivery.job_id,
            registry.WEBHOOK_ID: prefixed("msg", delivery.id),
            registry.WEBHOOK_EVENT: delivery.event_type,
        }
        with span(registry.DELIVER, attributes, parent=payload.traceparent or None):
            sending = asyncio.ensure_future(self._send(claim, payload.json))
            try:
                if not await _ends(sending, OVERRUN_SECONDS):
                    if self._slots.overrun(slot):
                        self._freed()
                    if slot.share is SlotShare.NORMAL and not await _ends(sending, SLOW_MS / 1_000 - OVERRUN_SECONDS):
                        await self._mark_slow(claim)
                outcome = await sending
            finally:
                sending.cancel()
            if outcome.error is not None:
                fail(outcome.error)
            error = "none" if outcome.error is None else outcome.error.value
            metrics.observe(registry.WEBHOOK_ATTEMPT_SECONDS, outcome.duration_ms / 1_000, error)
            recorded = await self._record(claim, outcome)
        _log(claim.delivery, outcome, recorded)
        self._counters["attempts"] += 1
        state = "lost" if recorded.state is None else recorded.state.value
        self._counters[state] += 1
        metrics.count(registry.WEBHOOK_ATTEMPTS, state)
        if recorded.notice is not None:
            self._counters[recorded.notice.value] += 1
            metrics.count(registry.WEBHOOK_HEALTH_CHANGES, recorded.notice.value)
            self._noticed()

    async def _send(self, claim: DeliveryClaim, data: str) -> AttemptOutcome:
        delivery, began = claim.delivery, time.monotonic()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return await self._sender.send(
                    delivery.url,
                    delivery_id=delivery.id,
                    event_type=delivery.event_type,
                    body=payloads.body(delivery.event_type, delivery.occurred_at, data),
                    secrets=claim.secrets,
                    scheme=delivery.scheme,
                    traceparent=traceparent(),
                )
        except Exception:  # noqa: BLE001 - a fault of ours, which must not count against the receiver
            _LOG.exception("delivery.send_failed", extra=ids_of(delivery))
        return AttemptOutcome(
            duration_ms=round((time.monotonic() - began) * 1_000),
            error=AttemptError.ABANDONED,
            message="The attempt failed for an internal reason.",
        )

    async def _mark_slow(self, claim: DeliveryClaim) -> None:
        """Treats an endpoint as slow before its attempt has ended, so that it holds up no others."""
        try:
            await self._database.run(partial(_mark_slow, claim=claim), pool=Pool.OUTCOMES)
        except DependencyUnavailable:
            # The outcome marks it, too.
            event(_LOG, logging.DEBUG, "delivery.not_marked_slow", **ids_of(claim.delivery))

    async def _record(self, claim: DeliveryClaim, outcome: AttemptOutcome) -> Recorded:
        until = time.monotonic() + RECORD_SECONDS
        while True:
            try:
                work = partial(attempts.record, delivery=claim.delivery, outcome=outcome)
                return await self._database.run(work, pool=Pool.OUTCOMES)
            except DependencyUnavailable:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(RECORD_PAUSE)


def ids_of(delivery: ClaimedDelivery) -> dict[str, str | None]:
    """Returns the ids of a delivery, as fields of log lines."""
    return {
        "delivery_id": prefixed("msg", delivery.id),
        "job_id": delivery.job_id,
        "tenant": delivery.tenant,
        "webhook_id": prefixed("wh", delivery.endpoint_id),
    }


def _log(delivery: ClaimedDelivery, outcome: AttemptOutcome, recorded: Recorded) -> None:
    """Logs an attempt; `state` is that of its delivery afterwards, None when the lease was lost."""
    event(
        _LOG,
        logging.INFO,
        "delivery.attempted",
        **ids_of(delivery),
        event_type=delivery.event_type,
        attempt=delivery.attempt_count + 1,
        state=recorded.state,
        status=outcome.status,
        reason=outcome.error,
        duration_seconds=round(outcome.duration_ms / 1_000, 3),
    )


async def _ends(sending: "asyncio.Future[AttemptOutcome]", seconds: float) -> bool:
    """Waits up to `seconds` for a request to end; returns whether it did."""
    done, _ = await asyncio.wait({sending}, timeout=max(seconds, 0.0))
    return bool(done)


def _mark_slow(connection: Connection, *, claim: DeliveryClaim) -> None:
    if endpoints.mark_slow(connection, claim.delivery.endpoint_id):
        readiness.refresh(connection, [claim.delivery.endpoint_id])
