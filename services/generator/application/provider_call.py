"""One provider call after job-service has recorded it: sends it, follows its operation, records its outcome."""

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from math import inf

from calotype.error_reasons import Reason

from common.errors import ServiceError
from common.leased_work import Renewal
from common.logs import event
from common.loops import pause_until
from common.memory import give_back, timeout
from common.publishing import BackgroundPublisher
from services.generator.application.call_meter import count_cost, measured
from services.generator.application.call_spans import call_span, note_usage
from services.generator.application.claim import Claim, Interrupted
from services.generator.application.unread_responses import UnreadResponses
from services.generator.domain import failures
from services.generator.domain.jobs import Call, CallPhase
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    Operation,
    Pending,
    ProviderError,
    StageError,
)
from services.generator.ports import Facts, ImageProvider, JobService, ProviderRequest

_LOG = logging.getLogger(__name__)
#: Time limits in seconds for one poll of an operation and for one cancel request.
POLL_SECONDS, CANCEL_SECONDS = 60.0, 15.0
#: Longest pause in seconds between two polls, whatever the provider requests.
LONGEST_PAUSE = 30.0


class ProviderCallRunner:
    """Makes provider calls for one claimed job. Records an error as the call's outcome and raises `StageError`."""

    def __init__(
        self,
        claim: Claim,
        *,
        job_service: JobService,
        facts: Facts,
        publisher: BackgroundPublisher,
        unread: UnreadResponses,
        traces_prompts: bool = False,
    ) -> None:
        self._claim = claim
        self._slot = claim.slot
        self._job_service = job_service
        self._facts = facts
        self._publisher = publisher
        self._unread = unread
        self._traces_prompts = traces_prompts
        #: Call id and operation of the call that was followed last.
        self._operation: tuple[str, Operation] | None = None

    async def send(self, provider: ImageProvider, call: Call, provider_request: ProviderRequest) -> Generated:
        """Sends the request and waits for its result."""
        with (
            call_span(self._claim, provider, call, provider_request, with_prompt=self._traces_prompts),
            measured(provider.name, call),
        ):
            self._claim.begin(call)
            response = await self._submit(provider, call, provider_request)
            if isinstance(response, Operation):
                call = replace(call, operation_id=response.id)
                await self._record(call, response)
                response = await self._follow(provider, call, response, provider_request)
            self._claim.end(call, CallPhase.SUCCEEDED, cost_micros=response.cost_micros)
            count_cost(provider.name, call, response.cost_micros)
            note_usage(response.usage)
            return response

    async def resume(self, provider: ImageProvider, call: Call, provider_request: ProviderRequest) -> Generated:
        """Follows an operation of an earlier claim to its result."""
        operation = Operation(id=call.operation_id, state=call.operation_state)
        with (
            call_span(self._claim, provider, call, provider_request, with_prompt=self._traces_prompts),
            measured(provider.name, call),
        ):
            self._claim.begin(call)
            generated = await self._follow(provider, call, operation, provider_request)
            self._claim.end(call, CallPhase.SUCCEEDED, cost_micros=generated.cost_micros)
            count_cost(provider.name, call, generated.cost_micros)
            note_usage(generated.usage)
            return generated

    async def fetch_again(self, provider: ImageProvider, call: Call) -> Generated | None:
        """Fetches the result of an ended operation again; returns None without an operation or a result."""
        call_id, operation = self._operation or ("", Operation(id=""))
        if call_id != call.id:
            return None
        try:
            async with timeout(POLL_SECONDS):
                state = await provider.poll(operation)
        except (ProviderError, TimeoutError) as error:
            event(_LOG, logging.WARNING, "operation.not_polled", call_id=call.id, reason=type(error).__name__)
            return None
        return state if isinstance(state, Generated) else None

    async def _submit(
        self, provider: ImageProvider, call: Call, provider_request: ProviderRequest
    ) -> Generated | Operation:
        try:
            async with timeout(self._claim.seconds_left(provider.timeout_seconds)):
                if provider.traits.stoppable:
                    return await self._submit_stoppable(provider, call, provider_request)
                return await provider.submit(provider_request)
        except TimeoutError as error:
            raise self._failed(provider, call, failures.no_response(provider.name)) from error
        except ProviderError as error:
            generated = await self._unread.read(provider, call, error)
            if generated is not None:
                return generated
            raise self._failed(provider, call, error) from error
        except Interrupted:
            raise
        except Exception as error:
            _LOG.exception("adapter.failed", extra={"provider": provider.name, "call_id": call.id})
            raise self._failed(provider, call, failures.adapter_failed(provider.name)) from error

    async def _submit_stoppable(
        self, provider: ImageProvider, call: Call, provider_request: ProviderRequest
    ) -> Generated | Operation:
        """Sends the request; stops it when the job is canceled. Raises `Interrupted` once the stop is confirmed."""
        sending = asyncio.create_task(provider.submit(provider_request))
        ended = asyncio.create_task(self._slot.ended.wait())
        try:
            await asyncio.wait([sending, ended], return_when=asyncio.FIRST_COMPLETED)
            while not sending.done() and self._slot.outcome is Renewal.CANCELED:
                # In a new context: its memory is counted apart from that of the response.
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
            event(_LOG, logging.WARNING, "operation.published_as_fact", call_id=call.id, reason=error.reason)
            self._claim.published_as_fact = True
            publish = partial(self._facts.call_accepted, job=self._claim.job, call=call, operation=operation)
            await self._publisher.publish(publish, lease_ended=self._slot.ended)

    async def _follow(
        self, provider: ImageProvider, call: Call, operation: Operation, provider_request: ProviderRequest
    ) -> Generated:
        """Polls until the operation ends; returns its result.

        An operation of a resumable provider is left to the next claim when the lease ends or the process stops. At the
        job's own deadline the operation is canceled if possible; otherwise it is charged anyway and awaited.
        """
        self._operation = (call.id, operation)
        finish_at, until = self._claim.finish_at, time.monotonic() + self._claim.seconds_left(provider.timeout_seconds)
        interrupts = (self._slot.ended, self._slot.stopping) if provider.traits.resumable else ()
        async with self._watched(provider, operation, provider_request) as ended:
            while self._slot.outcome is not Renewal.CANCELED and not any(event.is_set() for event in interrupts):
                state, pause = await self._poll(provider, call, operation)
                if isinstance(state, Generated):
                    return state
                give_back()
                if state.progress is not None:
                    provider_request.report(state.progress)
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
        self, provider: ImageProvider, operation: Operation, provider_request: ProviderRequest
    ) -> AsyncIterator[asyncio.Event]:
        """Reports live progress in the block; yields an event that is set when the provider reports the end."""
        ended = asyncio.Event()
        watching = asyncio.create_task(_watch(provider, operation, provider_request, ended))
        try:
            yield ended
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _poll(
        self, provider: ImageProvider, call: Call, operation: Operation
    ) -> tuple[Generated | Pending, float]:
        """Returns the state of the operation, and the seconds until the next poll."""
        pause = provider.poll_interval_seconds
        try:
            async with timeout(POLL_SECONDS):
                return await provider.poll(operation), pause
        except TimeoutError:
            return Pending(), pause
        except ProviderError as error:
            generated = await self._unread.read(provider, call, error)
            if generated is not None:
                return generated, pause
            if error.acceptance is Acceptance.ACCEPTED:
                await self._interrupt_if_canceled(call, error)
                raise self._failed(provider, call, error) from error
            if not error.retryable:
                # The poll failed for good, which says nothing about the operation: its call stays open.
                raise
            return Pending(), min(max(pause, error.retry_after_seconds or 0.0), LONGEST_PAUSE)
        except Exception:  # noqa: BLE001 - a defect of the adapter: the operation's result can still be fetched
            _LOG.exception("adapter.failed", extra={"provider": provider.name, "call_id": call.id})
            return Pending(), LONGEST_PAUSE

    async def _cancel(self, provider: ImageProvider, operation: Operation) -> CancelOutcome | None:
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                return await provider.cancel(operation)
        except (ProviderError, TimeoutError) as error:
            # The call stays open in the ledger; the next claim or settlement requests it again.
            event(_LOG, logging.WARNING, "cancel.unanswered", operation_id=operation.id, reason=type(error).__name__)
            return None

    async def _stop(self, provider: ImageProvider, call: Call, operation: Operation) -> bool:
        """Requests the provider to stop; a confirmation ends the call. Returns whether it was confirmed."""
        is_stopped = await self._cancel(provider, operation) is CancelOutcome.CONFIRMED
        if is_stopped:
            self._claim.end(call, CallPhase.CANCELED)
        return is_stopped

    async def _interrupt_if_canceled(self, call: Call, error: ProviderError) -> None:
        """Raises `Interrupted` if the operation was canceled because the job was.

        The settlement of the job's calls may have canceled it before a renewal told this process.
        """
        if error.reason != Reason.PROVIDER_CANCELED:
            return
        await self._slot.check()
        if self._slot.outcome is Renewal.CANCELED:
            self._claim.end(call, CallPhase.CANCELED)
            raise Interrupted

    def _failed(self, provider: ImageProvider, call: Call, error: ProviderError) -> StageError:
        """Records the outcome of a failed call; returns the error for the job."""
        if error.acceptance is Acceptance.UNKNOWN and not provider.traits.free:
            if provider.traits.idempotent:
                # The call stays open: the next claim sends it again with its idempotency key.
                return error
            self._claim.end(call, CallPhase.UNKNOWN, error=error)
            return failures.ambiguous(provider.name, retryable=self._may_pay_again(call))
        if error.reason == Reason.RESULT_LOST:
            error.retryable = self._may_pay_again(call)
        self._claim.end(call, failures.phase_after(error), error=error)
        return error

    def _may_pay_again(self, call: Call) -> bool:
        """Returns whether the user consented to pay again, and this call does not already use that consent."""
        return self._claim.job.may_pay_again and not call.under_consent


async def _watch(
    provider: ImageProvider, operation: Operation, provider_request: ProviderRequest, ended: asyncio.Event
) -> None:
    try:
        if await provider.watch(operation, provider_request.report):
            ended.set()
    except Exception as error:  # noqa: BLE001 - nothing depends on live progress
        event(_LOG, logging.WARNING, "watch.failed", provider=provider.name, reason=type(error).__name__)
