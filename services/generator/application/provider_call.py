"""One provider call after it was written down: sent, followed to its end, and booked."""

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from math import inf

from opentelemetry.trace import SpanKind

from common.errors import ServiceError
from common.leased_work import Renewal
from common.logs import event
from common.loops import pause_until
from common.memory import give_back, timeout
from common.publishing import BackgroundPublisher
from common.tracing import span
from services.generator.application.claim import Claim, Interrupted
from services.generator.application.unread_responses import UnreadResponses
from services.generator.domain import failures
from services.generator.domain.jobs import Call, Phase
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    Operation,
    Pending,
    ProviderError,
    StageError,
)
from services.generator.ports import Facts, ImageProvider, JobService, Order

_LOG = logging.getLogger(__name__)
#: Longest time for one look at an operation, or one word to it.
POLL_SECONDS, CANCEL_SECONDS = 60.0, 15.0
#: A provider that wants to be asked later is asked after this at the latest.
LONGEST_PAUSE = 30.0


class ProviderCallRunner:
    """Carries out calls for one claimed job. What ends a call badly is booked, and raised as `StageError`."""

    def __init__(
        self,
        claim: Claim,
        *,
        job_service: JobService,
        facts: Facts,
        publisher: BackgroundPublisher,
        unread: UnreadResponses,
    ) -> None:
        self._claim = claim
        self._slot = claim.slot
        self._job_service = job_service
        self._facts = facts
        self._publisher = publisher
        self._unread = unread
        #: Of the call that was followed last.
        self._operation: tuple[str, Operation] | None = None

    async def send(self, provider: ImageProvider, call: Call, order: Order) -> Generated:
        """Send the request and wait for what comes of it."""
        attributes = {
            "job.id": self._claim.job.id,
            "call.id": call.id,
            "provider": provider.name,
            "model": call.model,
        }
        with span("provider call", kind=SpanKind.CLIENT, attributes=attributes):
            answer = await self._submit(provider, call, order)
            if isinstance(answer, Operation):
                call = replace(call, operation_id=answer.id)
                await self._record(call, answer)
                answer = await self._follow(provider, call, answer, order)
            self._claim.end(call, Phase.SUCCEEDED, cost_micros=answer.cost_micros)
            return answer

    async def resume(self, provider: ImageProvider, call: Call, order: Order) -> Generated:
        """Follow an operation that an earlier claim began."""
        operation = Operation(id=call.operation_id, state=call.operation_state)
        attributes = {"job.id": self._claim.job.id, "call.id": call.id, "provider": provider.name}
        with span("provider call", kind=SpanKind.CLIENT, attributes=attributes):
            answer = await self._follow(provider, call, operation, order)
            self._claim.end(call, Phase.SUCCEEDED, cost_micros=answer.cost_micros)
            return answer

    async def look_again(self, provider: ImageProvider, call: Call) -> Generated | None:
        """What an operation that has ended brings by now; None where there is none, or it is not told."""
        call_id, operation = self._operation or ("", Operation(id=""))
        if call_id != call.id:
            return None
        try:
            async with timeout(POLL_SECONDS):
                answer = await provider.poll(operation)
        except (ProviderError, TimeoutError) as error:
            event(_LOG, logging.WARNING, "operation.not_told", call_id=call.id, error=type(error).__name__)
            return None
        return answer if isinstance(answer, Generated) else None

    async def _submit(self, provider: ImageProvider, call: Call, order: Order) -> Generated | Operation:
        try:
            async with timeout(self._claim.seconds_left(provider.timeout_seconds)):
                if provider.traits.stoppable:
                    return await self._unless_stopped(provider, call, order)
                return await provider.submit(order)
        except TimeoutError as error:
            raise self._ended_badly(provider, call, failures.no_response(provider.name)) from error
        except ProviderError as error:
            found = await self._unread.read(provider, call, error)
            if found is not None:
                return found
            raise self._ended_badly(provider, call, error) from error
        except Interrupted:
            raise
        except Exception as error:
            _LOG.exception("adapter.broke", extra={"provider": provider.name, "call_id": call.id})
            raise self._ended_badly(provider, call, failures.adapter_failed(provider.name)) from error

    async def _unless_stopped(self, provider: ImageProvider, call: Call, order: Order) -> Generated | Operation:
        """The answer of a call; `Interrupted` once it has surely been stopped, because its job was canceled."""
        sending = asyncio.create_task(provider.submit(order))
        ended = asyncio.create_task(self._slot.ended.wait())
        try:
            await asyncio.wait([sending, ended], return_when=asyncio.FIRST_COMPLETED)
            while not sending.done() and self._slot.outcome is Renewal.CANCELED:
                # In a context of its own: what it reads counts beside the answer.
                stopping = asyncio.create_task(
                    self._stop(provider, call, Operation(id=call.id)), context=contextvars.Context()
                )
                if await stopping:
                    raise Interrupted
                await asyncio.wait([sending], timeout=provider.poll_interval_seconds)
            return await sending
        finally:
            for task in (sending, ended):
                task.cancel()
            await asyncio.wait([sending, ended])

    async def _record(self, call: Call, operation: Operation) -> None:
        try:
            await self._job_service.record_operation(call, operation)
        except ServiceError as error:
            event(_LOG, logging.WARNING, "operation.told_as_fact", call_id=call.id, reason=error.reason)
            self._claim.told_as_fact = True
            publish = partial(self._facts.call_accepted, job=self._claim.job, call=call, operation=operation)
            await self._publisher.publish(publish, lease_ended=self._slot.ended)

    async def _follow(self, provider: ImageProvider, call: Call, operation: Operation, order: Order) -> Generated:
        """Poll until the operation ends. One that can be resumed is left to whoever is next when we have to stop.

        When the job should be finished, what can be canceled is; what is paid for all the same is waited for.
        """
        self._operation = (call.id, operation)
        finish_at, until = self._claim.finish_at, time.monotonic() + self._claim.seconds_left(provider.timeout_seconds)
        interrupts = (self._slot.ended, self._slot.stopping) if provider.traits.resumable else ()
        async with self._watched(provider, operation, order) as ended:
            while self._slot.outcome is not Renewal.CANCELED and not any(one.is_set() for one in interrupts):
                answer, pause = await self._look(provider, call, operation)
                if isinstance(answer, Generated):
                    return answer
                give_back()
                if answer.progress is not None:
                    order.report(answer.progress)
                if time.monotonic() > until:
                    await self._stop(provider, call, operation)
                    raise failures.operation_too_slow(provider.name)
                if time.monotonic() >= finish_at:
                    finish_at = inf
                    if await self._stop(provider, call, operation):
                        raise failures.out_of_time()
                await pause_until(*interrupts, ended, seconds=max(min(pause, finish_at - time.monotonic()), 0.01))
                ended.clear()
        if self._slot.outcome is Renewal.CANCELED:
            await self._cancel(provider, operation)
        raise Interrupted

    @asynccontextmanager
    async def _watched(
        self, provider: ImageProvider, operation: Operation, order: Order
    ) -> AsyncIterator[asyncio.Event]:
        """Live progress while an operation is followed. The event: its end was told, so a look is worth it at once."""
        ended = asyncio.Event()
        watching = asyncio.create_task(_watch(provider, operation, order, ended))
        try:
            yield ended
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _look(
        self, provider: ImageProvider, call: Call, operation: Operation
    ) -> tuple[Generated | Pending, float]:
        """How the operation stands, and the seconds until it is worth another look."""
        pause = provider.poll_interval_seconds
        try:
            async with timeout(POLL_SECONDS):
                return await provider.poll(operation), pause
        except TimeoutError:
            return Pending(), pause
        except ProviderError as error:
            found = await self._unread.read(provider, call, error)
            if found is not None:
                return found, pause
            if error.acceptance is Acceptance.ACCEPTED:
                raise self._ended_badly(provider, call, error) from error
            if not error.retryable:
                # The provider does not tell us, which says nothing about the operation: its call stays open.
                raise
            return Pending(), min(max(pause, error.retry_after_seconds or 0.0), LONGEST_PAUSE)
        except Exception:  # noqa: BLE001 - a defect of ours says nothing of the operation: its result can still be had
            _LOG.exception("adapter.broke", extra={"provider": provider.name, "call_id": call.id})
            return Pending(), LONGEST_PAUSE

    async def _cancel(self, provider: ImageProvider, operation: Operation) -> CancelOutcome | None:
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                return await provider.cancel(operation)
        except (ProviderError, TimeoutError) as error:
            # The call stays open in the ledger; whoever is next asks again.
            event(_LOG, logging.WARNING, "cancel.unanswered", operation_id=operation.id, error=type(error).__name__)
            return None

    async def _stop(self, provider: ImageProvider, call: Call, operation: Operation) -> bool:
        """Ask the provider to stop; tells whether it has confirmed that, which ends the call."""
        is_stopped = await self._cancel(provider, operation) is CancelOutcome.CONFIRMED
        if is_stopped:
            self._claim.end(call, Phase.CANCELED)
        return is_stopped

    def _ended_badly(self, provider: ImageProvider, call: Call, error: ProviderError) -> StageError:
        """Book a failed call, and say what that means for the job."""
        if error.acceptance is Acceptance.UNKNOWN and not provider.traits.free:
            if provider.traits.idempotent:
                # It stays open: whoever is next sends it again under its own key.
                return error
            self._claim.end(call, Phase.UNKNOWN, error=error)
            return failures.ambiguous(provider.name, retryable=self._may_pay_again(call))
        if error.reason == "RESULT_LOST":
            error.retryable = self._may_pay_again(call)
        self._claim.end(call, failures.phase_after(error), error=error)
        return error

    def _may_pay_again(self, call: Call) -> bool:
        """Whether there is a consent that this call has not used up."""
        return self._claim.job.may_pay_again and not call.under_consent


async def _watch(provider: ImageProvider, operation: Operation, order: Order, ended: asyncio.Event) -> None:
    try:
        if await provider.watch(operation, order.report):
            ended.set()
    except Exception as error:  # noqa: BLE001 - nothing depends on live progress, a defect in it included
        event(_LOG, logging.WARNING, "watch.broke", provider=provider.name, error=type(error).__name__)
