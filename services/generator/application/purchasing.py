"""One provider call: written down, sent, followed to its end, its images staged."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TypeVar

from opentelemetry.trace import SpanKind

from common.errors import ServiceError
from common.ids import new_uuid7
from common.leased_work import Renewal, Slot
from common.logs import event
from common.loops import pause_until
from common.object_store import ObjectConflict, StorageDenied, StorageUnavailable
from common.tracing import span
from services.generator.application.telling import tell
from services.generator.domain import failures
from services.generator.domain.outcomes import (
    Acceptance,
    Generated,
    ImageSource,
    Operation,
    Pending,
    ProviderError,
    StageError,
)
from services.generator.domain.work import Call, Job, Phase, StagedImage
from services.generator.ports import Facts, ImageProvider, ImageReader, JobDesk, Order, Outcome, Staging

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


class Interrupted(Exception):
    """The lease is lost, the job canceled or the process stopping: nothing more is begun."""


@dataclass(kw_only=True)
class Progress:
    """What a claim has come to so far: it is told at the end, however that comes."""

    images: dict[int, StagedImage] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    not_sent: list[str] = field(default_factory=list)

    def end(
        self, call: Call, phase: Phase, *, cost_micros: int | None = None, error: ProviderError | None = None
    ) -> None:
        """Remember how a call ended."""
        self.outcomes[call.id] = Outcome(
            call_id=call.id,
            phase=phase,
            operation_id=call.operation_id,
            cost_micros=cost_micros,
            vendor=error.vendor if error else None,
        )


class Purchaser:
    """Buys images for one claimed job."""

    def __init__(
        self,
        slot: Slot[Job],
        progress: Progress,
        *,
        desk: JobDesk,
        facts: Facts,
        staging: Staging,
        reader: ImageReader,
        report: Callable[[float], None],
    ) -> None:
        self._slot = slot
        self._report = report
        self._job = slot.work
        self._progress = progress
        self._desk = desk
        self._facts = facts
        self._staging = staging
        self._reader = reader
        self._deadline = slot.claimed_at + slot.work.max_seconds

    async def buy(self, provider: ImageProvider, indexes: Sequence[int], *, inputs: tuple[bytes, ...]) -> None:
        """Buy these images. Raises `StageError`, or `Interrupted`."""
        order = self._order(provider, f"call_{new_uuid7().hex}", indexes, inputs)
        asked_at = time.monotonic()
        call = await self._begin(provider, order, indexes)
        if time.monotonic() - asked_at > self._job.lease_seconds / 2:
            # Somebody else may hold the job by the time the request arrives.
            self._progress.end(call, Phase.NOT_SENT)
            raise failures.asked_too_slowly()
        await self.send(provider, call, order)

    async def resend(self, provider: ImageProvider, call: Call, *, inputs: tuple[bytes, ...]) -> None:
        """Send an earlier call again under its own key: only where that costs nothing."""
        self._must_go_on()
        try:
            again = await self._desk.resend_call(self._job, call)
        except ServiceError as error:
            raise self._refused(error) from error
        await self.send(provider, again, self._order(provider, call.id, call.image_indexes, inputs))

    async def send(self, provider: ImageProvider, call: Call, order: Order) -> None:
        """Send the request and take what comes of it."""
        attributes = {"job.id": self._job.id, "provider": provider.name, "model": call.model, "call.id": call.id}
        with span("provider call", kind=SpanKind.CLIENT, attributes=attributes):
            try:
                async with asyncio.timeout(self._seconds_left(provider)):
                    answer = await provider.submit(order)
            except TimeoutError as error:
                raise self._ended_badly(provider, call, failures.no_answer(provider.name)) from error
            except ProviderError as error:
                raise self._ended_badly(provider, call, error) from error
            except Exception as error:
                _LOG.exception("adapter.broke", extra={"provider": provider.name, "call_id": call.id})
                raise self._ended_badly(provider, call, failures.adapter_broke(provider.name)) from error
            if isinstance(answer, Operation):
                await self._record(call, answer)
                answer = await self._follow(provider, call, answer)
            self._progress.end(call, Phase.SUCCEEDED, cost_micros=answer.cost_micros)
        await self._stage(provider, call, answer)

    async def resume(self, provider: ImageProvider, call: Call) -> None:
        """Follow an operation that an earlier claim began."""
        operation = Operation(id=call.operation_id, state=call.operation_state)
        with span("provider call", kind=SpanKind.CLIENT, attributes={"job.id": self._job.id, "call.id": call.id}):
            answer = await self._follow(provider, call, operation)
            self._progress.end(call, Phase.SUCCEEDED, cost_micros=answer.cost_micros)
        await self._stage(provider, call, answer)

    async def adopt(self, call: Call) -> None:
        """Take over what an earlier claim has staged of a call; all of it there means that the call succeeded."""
        found, count = await self._with_storage(partial(self._staging.of_call, self._job.id, call.id))
        for image in found:
            self._progress.images.setdefault(image.index, image)
        if count > 0 and len(found) == count and call.phase is not Phase.SUCCEEDED:
            self._progress.end(call, Phase.SUCCEEDED)

    def _order(self, provider: ImageProvider, call_id: str, indexes: Sequence[int], inputs: tuple[bytes, ...]) -> Order:
        seed = self._job.request.seed
        return Order(
            call_id=call_id,
            idempotency_key=call_id,
            model=self._job.model,
            count=len(indexes),
            request=self._job.request,
            # Image i of a job has the job's seed plus i, in whichever call it is bought.
            seed=None if seed is None else seed + indexes[0],
            inputs=inputs,
            report=self._report,
        )

    async def _begin(self, provider: ImageProvider, order: Order, indexes: Sequence[int]) -> Call:
        digest = hashlib.sha256(json.dumps(asdict(order.request), sort_keys=True, default=str).encode()).hexdigest()
        self._must_go_on()
        try:
            return await self._desk.begin_call(
                self._job,
                call_id=order.call_id,
                provider=provider.name,
                model=order.model,
                indexes=indexes,
                digest=digest,
            )
        except ServiceError as error:
            if error.reason in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "SERVICE_UNAVAILABLE"):
                # It may have been written down without our knowing; surely it did not leave.
                self._progress.not_sent.append(order.call_id)
            raise self._refused(error) from error

    def _refused(self, error: ServiceError) -> Exception:
        match error.reason:
            case "LEASE_LOST":
                self._slot.outcome = Renewal.LOST
                self._slot.ended.set()
                return Interrupted()
            case "CONSENT_REQUIRED":
                return failures.ambiguous(self._job.provider)
            case _:
                return failures.not_written_down()

    async def _record(self, call: Call, operation: Operation) -> None:
        try:
            await self._desk.record_operation(call, operation)
        except ServiceError as error:
            event(_LOG, logging.WARNING, "operation.told_as_fact", call_id=call.id, reason=error.reason)
            publish = partial(self._facts.call_accepted, job=self._job, call=call, operation=operation)
            await tell(publish, until=self._slot.ended)

    async def _follow(self, provider: ImageProvider, call: Call, operation: Operation) -> Generated:
        """Poll until the operation ends. It stays the provider's when we stop: whoever is next resumes it."""
        until = min(time.monotonic() + provider.timeout_seconds, self._deadline)
        while True:
            if not self._slot.may_begin:
                if self._slot.outcome is Renewal.CANCELED:
                    await self._try_cancel(provider, operation)
                raise Interrupted
            try:
                answer = await provider.poll(operation)
            except ProviderError as error:
                if not error.retryable or error.acceptance is not Acceptance.UNKNOWN or time.monotonic() > until:
                    raise self._ended_badly(provider, call, error) from error
                answer = Pending()
            if isinstance(answer, Generated):
                return answer
            if answer.progress is not None:
                self._report(answer.progress)
            if time.monotonic() > until:
                await self._try_cancel(provider, operation)
                raise failures.too_slow(provider.name)
            await pause_until(self._slot.ended, self._slot.stopping, seconds=provider.poll_interval_seconds)

    async def _try_cancel(self, provider: ImageProvider, operation: Operation) -> None:
        try:
            await provider.cancel(operation)
        except ProviderError as error:
            # The call stays open in the ledger; settle work asks again.
            event(_LOG, logging.WARNING, "cancel.unanswered", operation_id=operation.id, error=str(error))

    def _ended_badly(self, provider: ImageProvider, call: Call, error: ProviderError) -> StageError:
        """Book a failed call, and say what that means for the job."""
        harmless = provider.traits.free or provider.traits.idempotent
        if error.acceptance is Acceptance.NOT_ACCEPTED:
            self._progress.end(call, Phase.NOT_SENT, error=error)
        elif error.acceptance is Acceptance.UNKNOWN and not harmless:
            self._progress.end(call, Phase.UNKNOWN, error=error)
            ambiguous = failures.ambiguous(provider.name)
            ambiguous.retryable = self._job.may_pay_again
            return ambiguous
        elif error.reason == "CONTENT_POLICY":
            self._progress.end(call, Phase.REFUSED, error=error)
        elif error.reason == "PROVIDER_CANCELED":
            self._progress.end(call, Phase.CANCELED, error=error)
        elif error.reason == "RESULT_LOST":
            self._progress.end(call, Phase.UNKNOWN, error=error)
        else:
            self._progress.end(call, Phase.FAILED, error=error)
        return error

    async def _stage(self, provider: ImageProvider, call: Call, answer: Generated) -> None:
        wanted = list(zip(call.image_indexes, answer.images, strict=False))
        staging = (self._stage_one(provider, call, index, source, count=len(wanted)) for index, source in wanted)
        ends = await asyncio.gather(*staging, return_exceptions=True)
        self._progress.images |= {end.index: end for end in ends if isinstance(end, StagedImage)}
        # One bad image does not take the good ones with it; job-service hears of both.
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        if len(wanted) < len(call.image_indexes):
            raise failures.too_few(provider.name)

    async def _stage_one(
        self, provider: ImageProvider, call: Call, index: int, source: ImageSource, *, count: int
    ) -> StagedImage:
        data = await self._reader.read(source, provider=provider)
        seen = await self._reader.inspect(data)
        image = StagedImage(
            index=index,
            name=f"{self._job.id}/{call.id}/{index}",
            call_id=call.id,
            content_type=seen.content_type,
            width=seen.width,
            height=seen.height,
            size_bytes=len(data),
            sha256=seen.sha256,
            blurhash=seen.blurhash,
            seed=source.seed,
            revised_prompt=source.revised_prompt,
            c2pa=seen.c2pa,
        )
        with span("stage image", attributes={"job.id": self._job.id, "image.index": index}):
            return await self._with_storage(partial(self._staging.put, image, data, count=count))

    async def _with_storage(self, work: Callable[[], Awaitable[T]]) -> T:
        """Keep trying while the store is away: what was paid for is in hand, and the lease is held."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await work()
            except StorageUnavailable as error:
                if time.monotonic() + pause > self._deadline:
                    raise failures.storage_away() from error
            except (StorageDenied, ObjectConflict) as error:
                raise failures.storage_denied() from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _must_go_on(self) -> None:
        if not self._slot.may_begin:
            raise Interrupted

    def _seconds_left(self, provider: ImageProvider) -> float:
        return max(min(provider.timeout_seconds, self._deadline - time.monotonic()), 0.1)
