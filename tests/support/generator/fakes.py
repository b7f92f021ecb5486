"""Fakes around a generator: job-service with a ledger in memory, recorded facts, a staging bucket in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc
from calotype.error_reasons import Code, Reason

from common.errors import ServiceError
from common.leased_work import Renewal
from common.object_store import ObjectConflict, StorageUnavailable
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import Call, CallPhase, Job, MaskForm, Request, Route, StagedImage
from services.generator.domain.provider_results import (
    CancelOutcome,
    Generated,
    ImageSource,
    Operation,
    Pending,
    ProviderError,
    StageError,
)
from services.generator.domain.settlements import CallOutcome, Settlement, WorkerReport
from services.generator.ports import ImageProvider, Inspected, PreparedInput, ProviderRequest, RawResult
from services.job.domain import calls as ledger
from services.job.domain import jobs, transitions
from services.job.domain import providers as catalogue
from services.job.domain.refusals import Refusal
from services.job.domain.requests import JobRequest
from services.job.grpc_api.status_codes import to_service_error
from tests.support.generator.memory_ledger import MemoryLedger
from tests.support.patience import PATIENCE

START = datetime(2026, 1, 1, tzinfo=UTC)
AWAY = ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason("UNAVAILABLE"), message="away")
LOST = ServiceError(status=grpc.StatusCode.ABORTED, reason=Reason.LEASE_LOST, message="lost")


def job_of(*, n: int = 1, calls: Sequence[Call] = (), images: Sequence[StagedImage] = (), **changes: Any) -> Job:
    """A claimed job."""
    job = Job(
        id="job_1",
        claim_number=1,
        lease_token="token",
        lease_seconds=PATIENCE,
        tenant="acme",
        routes=(Route(provider="paid", model="m"),),
        image_count=n,
        request=Request(prompt="a harbour"),
        calls=tuple(calls),
        images=tuple(images),
        traceparent="",
        max_processing_seconds=PATIENCE,
        max_seconds=PATIENCE,
        may_pay_again=False,
    )
    return replace(job, **changes)


def call_of(phase: CallPhase, *indexes: int, operation: str = "", call_id: str = "call_old") -> Call:
    """A call that an earlier claim left."""
    return Call(
        id=call_id,
        provider="paid",
        model="m",
        phase=phase,
        image_indexes=indexes or (0,),
        idempotency_key=call_id,
        operation_id=operation,
        operation_state={},
    )


class LedgerJobService:
    """Decides by job-service's own rules on a ledger in memory, unless `refusals` holds an error for the method."""

    def __init__(self, *providers: ImageProvider) -> None:
        self.ledger = MemoryLedger()
        self.register(*providers)
        self.refusals: dict[str, ServiceError] = {}
        self.begun: list[tuple[int, ...]] = []
        self.when_begun: Callable[[], None] = lambda: None
        self.resent: list[str] = []
        self.followed: list[str] = []
        self.recorded: list[str] = []
        self.released: list[WorkerReport] = []
        self.postponed: list[tuple[str, CancelOutcome | None, float]] = []

    def register(self, *providers: ImageProvider) -> None:
        """What these can do is in the catalogue."""
        self.ledger.catalogue |= {provider.name: _listed(provider) for provider in providers}

    def _refuse(self, method: str) -> None:
        if method in self.refusals:
            raise self.refusals[method]

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Job]]:
        """Nothing is due."""
        return []

    async def renew(self, jobs: Sequence[Job]) -> Mapping[str, Renewal]:
        """Everything is held."""
        return {}

    async def begin_call(
        self,
        job: Job,
        *,
        call_id: str,
        provider: str,
        model: str,
        indexes: Sequence[int],
        digest: str,
        report: WorkerReport,
    ) -> Call:
        """Write a call down."""
        self._refuse("begin_call")
        domain_job, ledger_known = self._domain_job(job), _known(job, report)
        with _refusals():
            call = self.ledger.begin(
                domain_job, call_id=call_id, provider=provider, model=model, indexes=indexes, report=ledger_known
            )
        self.begun.append(tuple(indexes))
        self.when_begun()
        return _written_down(call)

    async def resend_call(self, job: Job, call: Call, *, report: WorkerReport) -> Call:
        """Allow a call to be sent again."""
        self._refuse("resend_call")
        with _refusals():
            again = self.ledger.resend(self._domain_job(job), call.id, _known(job, report))
        self.resent.append(call.id)
        return _written_down(again)

    async def follow_call(self, job: Job, call: Call, *, report: WorkerReport) -> Call:
        """Allow an operation to be followed."""
        self._refuse("follow_call")
        with _refusals():
            self.ledger.follow(self._domain_job(job), call.id, _known(job, report))
        self.followed.append(call.id)
        return call

    def _domain_job(self, job: Job) -> jobs.Job:
        """The job as job-service has it, with what earlier claims left in the ledger."""
        self.ledger.add(
            ledger.ProviderCall(
                id=call.id,
                job_id=job.id,
                claim_number=0,
                provider=call.provider,
                model=call.model,
                phase=ledger.CallPhase(call.phase),
                image_indexes=call.image_indexes,
                idempotency_key=call.idempotency_key,
                request_digest="",
                consent=ledger.Consent.USER if call.under_consent else ledger.Consent.NONE,
                operation_id=call.operation_id or None,
                timeout_seconds=60,
                created_at=START,
            )
            for call in job.calls
        )
        self.ledger.staged |= {image.index for image in job.images}
        new = transitions.submit(
            job_id=job.id,
            tenant=job.tenant,
            request=JobRequest(
                prompt=job.request.prompt,
                n=job.image_count,
                fallback=tuple(route.provider for route in job.routes[1:]),
                background=job.request.background,
            ),
            provider=job.routes[0].provider,
            model=job.routes[0].model,
            traceparent=None,
            now=START,
        )
        return replace(new, claim_number=job.claim_number, user_consents=job.may_pay_again, consented_at=START)

    async def record_operation(self, call: Call, operation: Operation) -> None:
        """Write an operation down."""
        self._refuse("record_operation")
        with _refusals():
            self.ledger.accept(call.id, operation.id)
        self.recorded.append(operation.id)

    async def read_input(self, job: Job, index: int) -> AsyncIterator[bytes]:
        """An input in two chunks."""
        for chunk in (b"in", b"put"):
            yield chunk

    async def release(self, job: Job, *, report: WorkerReport) -> None:
        """Releases a job."""
        self._refuse("release")
        self.ledger.settle(self._domain_job(job), _known(job, report))
        self.released.append(report)

    async def claim_settlements(self, tokens: Sequence[str]) -> Sequence[tuple[str, Settlement]]:
        """Nothing is open."""
        return []

    async def renew_settlements(self, settlements: Sequence[Settlement]) -> Mapping[str, Renewal]:
        """Everything is held."""
        return {}

    async def postpone_settlement(
        self, settlement: Settlement, *, cancel_outcome: CancelOutcome | None, shortest_pause: float
    ) -> None:
        """Postpones the settling of a call."""
        self._refuse("postpone_settlement")
        self.postponed.append((settlement.call.id, cancel_outcome, shortest_pause))


@contextmanager
def _refusals() -> Iterator[None]:
    """Converts refusals of the domain to errors of the gRPC API."""
    try:
        yield
    except Refusal as refusal:
        raise to_service_error(refusal) from refusal


def _known(job: Job, known: WorkerReport) -> ledger.WorkerReport:
    """What job-service reads of what a worker knows."""
    outcomes = tuple(
        ledger.CallOutcome(
            call_id=outcome.call_id, phase=ledger.CallPhase(outcome.phase), operation_id=outcome.operation_id or None
        )
        for outcome in known.calls
    )
    images = tuple(
        jobs.Artifact(
            id=image.name,
            job_id=job.id,
            image_index=image.index,
            call_id=image.call_id,
            staged_name=image.name,
            content_type=image.content_type,
            width=image.width,
            height=image.height,
            size_bytes=image.size_bytes,
            sha256=image.sha256,
            blurhash=image.blurhash,
            staged_at=START,
        )
        for image in known.images
    )
    return ledger.WorkerReport(calls=outcomes, images=images)


def _listed(provider: ImageProvider) -> catalogue.Provider:
    traits = provider.traits
    return catalogue.Provider(
        name=provider.name,
        kind=provider.name,
        is_default=False,
        default_model="m",
        capabilities=catalogue.Capabilities(free=traits.free, idempotent=traits.idempotent, resumable=traits.resumable),
    )


def _written_down(call: ledger.ProviderCall) -> Call:
    return Call(
        id=call.id,
        provider=call.provider,
        model=call.model,
        phase=CallPhase(call.phase),
        image_indexes=call.image_indexes,
        idempotency_key=call.idempotency_key,
        operation_id=call.operation_id or "",
        operation_state={},
        under_consent=call.consent is not ledger.Consent.NONE,
    )


class Facts:
    """Records published facts, by kind."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        async def publish(*_: Any, **about: Any) -> None:
            if kind != "progress":
                self.published.append((kind, about))

        return publish

    @property
    def kinds(self) -> list[str]:
        """Kinds in the order of publication."""
        return [kind for kind, _ in self.published]

    @property
    def last(self) -> dict[str, Any]:
        """Fields of the last fact."""
        return self.published[-1][1]

    @property
    def phases(self) -> list[CallPhase]:
        """Phases of the calls in the last fact."""
        outcomes: Sequence[CallOutcome] = self.last["calls"]
        return [outcome.phase for outcome in outcomes]

    @property
    def indexes(self) -> list[int]:
        """Images of the last fact."""
        return sorted(image.index for image in self.last["images"])

    @property
    def error(self) -> StageError:
        """The failure in the last fact."""
        error: StageError = self.last["error"]
        return error


class Staging:
    """A bucket in memory; the first `outages` writes fail, by default because the store is unavailable."""

    def __init__(self, *, outages: int = 0, problem: Exception | None = None) -> None:
        self.objects: dict[str, tuple[StagedImage, int]] = {}
        self.raw: dict[str, bytes] = {}
        self.outages = outages
        self.problem = problem or StorageUnavailable("away")
        self.when_refused: Callable[[], None] = lambda: None

    async def put(self, image: StagedImage, data: bytes, *, count: int) -> StagedImage:
        """Write; the first writer wins."""
        self._refuse()
        return self.objects.setdefault(image.name, (image, count))[0]

    async def of_call(self, job_id: str, call_id: str) -> tuple[list[StagedImage], int]:
        """What a call has here."""
        self._refuse()
        objects = [stored for name, stored in self.objects.items() if name.startswith(f"{job_id}/{call_id}/")]
        return [image for image, _ in objects], max((count for _, count in objects), default=0)

    async def put_raw(self, name: str, data: bytes) -> None:
        """Write; the first writer wins."""
        self._refuse()
        if self.raw.setdefault(name, data) != data:
            raise ObjectConflict("other")

    async def raw_of_call(self, job_id: str, call_id: str) -> list[RawResult]:
        """What a call has here that is no image."""
        self._refuse()
        folder = f"{job_id}/{call_id}/raw/"
        return [
            RawResult(name=name, part=name.removeprefix(folder), size_bytes=len(data))
            for name, data in self.raw.items()
            if name.startswith(folder)
        ]

    async def get_raw(self, name: str) -> bytes:
        """The bytes."""
        self._refuse()
        return self.raw[name]

    def _refuse(self) -> None:
        if self.outages:
            self.outages -= 1
            self.when_refused()
            raise self.problem

    def add(self, image: StagedImage, *, count: int) -> None:
        """What an earlier claim wrote."""
        self.objects[image.name] = (image, count)


class Reader:
    """Accepts every image except `bad` and `unseen`; URLs fail by the list `failures`, then are bytes."""

    def __init__(self, *failures: StageError) -> None:
        self.failures = list(failures)
        self.when_failed: Callable[[], None] = lambda: None

    async def read(self, source: ImageSource, *, provider: ImageProvider) -> bytes:
        """The bytes."""
        if source.url is not None and self.failures:
            self.when_failed()
            raise self.failures.pop(0)
        return source.data or (source.url or "").encode()

    async def read_input(self, url: str) -> bytes:
        """The address as bytes."""
        return url.encode()

    async def prepare_input(self, data: bytes) -> PreparedInput:
        """Returns the input unchanged; the text `told` stands for metadata that is removed."""
        return PreparedInput(data=data, lost_metadata=b"told" in data)

    async def mask(self, data: bytes, form: MaskForm) -> bytes:
        """The form, and the mask as it is."""
        return form.encode() + b" " + data

    async def inspect(self, data: bytes) -> Inspected:
        """Measure."""
        if data == b"bad":
            raise StageError(code=Code.PERMANENT, reason=Reason.INVALID_IMAGE, message="bad", retryable=False)
        if data == b"unseen":
            raise StageError(code=Code.TEMPORARY, reason=Reason.SERVICE_UNAVAILABLE, message="Later.", retryable=True)
        return Inspected(content_type="image/png", width=1, height=1, sha256="0" * 64, blurhash="L", c2pa=False)

    async def deliverable(self, data: bytes, *, provider: str) -> tuple[bytes, Inspected]:
        """As it is."""
        return data, await self.inspect(data)

    async def images_in(self, body: bytes, *, limit: int) -> Sequence[ImageSource]:
        """Returns one image, the whole response."""
        return [ImageSource(data=body)] if body == b"good" else []

    def may_hold_images(self, body: bytes) -> bool:
        """Returns whether the body contains `image`."""
        return b"image" in body


class Provider:
    """Runs a script: each result is returned or raised in its turn, the last one repeatedly."""

    name = "paid"
    poll_interval_seconds = 0.001
    trusted_host: str | None = None
    allow_private_addresses = False
    masks = MaskForm.WHITE

    def __init__(
        self,
        *script: Any,
        free: bool = False,
        idempotent: bool = False,
        resumable: bool | None = None,
        max_images: int = 4,
        timeout: float = PATIENCE,
        hook: Callable[[], None] | None = None,
    ) -> None:
        resumes = not (free or idempotent) if resumable is None else resumable
        self.traits = Traits(free=free, idempotent=free or idempotent, resumable=resumes)
        self.cancels: CancelOutcome | Exception = CancelOutcome.CONFIRMED
        self.max_images_per_call = max_images
        self.timeout_seconds = timeout
        self.submitted: list[ProviderRequest] = []
        self.polled: list[str] = []
        self.canceled: list[str] = []
        self.when_canceled: Callable[[], None] = lambda: None
        self.watching: Callable[[Callable[[float], None]], Awaitable[bool]] | None = None
        self._script = list(script)
        self._hook = hook or (lambda: None)

    def images_per_call(self, model: str) -> int:
        """The same for every model."""
        return self.max_images_per_call

    def mask_form(self, model: str) -> MaskForm:
        """Returns the form that the test has set."""
        return self.masks

    async def submit(self, order: ProviderRequest) -> Generated | Operation:
        """Returns the next result."""
        self.submitted.append(order)
        result: Generated | Operation = self._next()
        return result

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Returns the next result."""
        self.polled.append(operation.id)
        result: Generated | Pending = self._next()
        return result

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """What `watching` does, if it is set."""
        return await self.watching(report) if self.watching else False

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Stop."""
        self.canceled.append(operation.id)
        self.when_canceled()
        if isinstance(self.cancels, Exception):
            raise self.cancels
        return self.cancels

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Returns none: no URL needs one."""
        return {}

    def price(self, model: str, count: int) -> int | None:
        """As what it makes."""
        return 40_000

    async def close(self) -> None:
        """Nothing is held."""

    def then(self, *script: Any) -> None:
        """Replaces the script."""
        self._script = list(script)

    def _next(self) -> Any:
        self._hook()
        result = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(result, Exception):
            raise result
        return result


def at(url: str) -> Generated:
    """An image by its address."""
    return Generated(images=(ImageSource(url=url),), cost_micros=40_000)


def fetch_failed(*, retryable: bool) -> StageError:
    """An address that does not give its image."""
    return StageError(code=Code.TEMPORARY, reason=Reason.FETCH_FAILED, message="It failed.", retryable=retryable)


def made(*data: bytes, cost: int | None = 40_000) -> Generated:
    """Images by their bytes."""
    return Generated(images=tuple(ImageSource(data=content) for content in data or (b"good",)), cost_micros=cost)


def provider_error(acceptance: Any, **changes: Any) -> ProviderError:
    """A call that failed."""
    plain: dict[str, Any] = {
        "code": "TEMPORARY",
        "reason": "PROVIDER_UNAVAILABLE",
        "message": "It was away.",
        "retryable": True,
    }
    return ProviderError(**(plain | changes), acceptance=acceptance)


def staged(index: int, *, call_id: str = "call_old") -> StagedImage:
    """An image that an earlier claim staged."""
    return StagedImage(
        index=index,
        name=f"job_1/{call_id}/{index}",
        call_id=call_id,
        content_type="image/png",
        width=1,
        height=1,
        size_bytes=4,
        sha256="0" * 64,
        blurhash="L",
    )
