"""What the generator needs of the world, in its own words."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.leased_work import Renewal
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import Call, Job, MaskForm, Phase, Request, StagedImage
from services.generator.domain.provider_results import (
    CancelOutcome,
    Generated,
    ImageSource,
    JobWarning,
    Operation,
    Pending,
    ProviderError,
    StageError,
)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One provider call: how many images, from which inputs, under which key.

    `seed` is the seed of the first image; `inputs` are encoded images in the order of the request, the mask last.
    """

    call_id: str
    idempotency_key: str
    model: str
    count: int
    request: Request
    seed: int | None = None
    inputs: tuple[bytes, ...] = ()
    report: Callable[[float], None] = field(default=lambda progress: None)


class ImageProvider(Protocol):
    """A provider of images. Methods raise `ProviderError`, classified by the adapter's own map.

    A synchronous provider answers `submit` with `Generated`; an asynchronous one with an `Operation` to poll.
    """

    name: str
    traits: Traits
    max_images_per_call: int
    timeout_seconds: float
    poll_interval_seconds: float
    trusted_host: str | None

    @property
    def allow_private_addresses(self) -> bool | Sequence[str]:
        """Where images may lie outside the open internet: any private network, none, or these hosts and networks."""

    def images_per_call(self, model: str) -> int:
        """How many images one call of a model can make; `max_images_per_call` where models do not differ."""

    def mask_form(self, model: str) -> MaskForm:
        """The form in which a model reads a mask."""

    async def submit(self, order: Order) -> Generated | Operation:
        """Send the request."""

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how an operation stands. An operation that is gone raises RESULT_LOST."""

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Report the progress of an operation, from 0 to 1, while the provider tells it by itself.

        A hint that may be missing: `poll` has the truth. True once the provider says that the operation has ended.
        """

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Ask the provider to stop. One that is stoppable is given a call's id for an operation's."""

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Headers by which a result is fetched there: none, but for the provider's own hosts that want some."""

    def price(self, model: str, count: int) -> int | None:
        """What so many images cost, in millionths of a US dollar; None when that is not known."""

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call ended, for the ledger."""

    call_id: str
    phase: Phase
    operation_id: str = ""
    cost_micros: int | None = None
    error: ProviderError | None = None
    #: Whether the provider surely does nothing more for it; None: as phase and error say.
    is_over: bool | None = None
    #: The call's, where it has one.
    token: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a worker knows of a job's calls and images, and the ledger may not know yet."""

    calls: tuple[Outcome, ...] = ()
    images: tuple[StagedImage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """An open call of a final job, in this worker's hands."""

    call: Call
    job_id: str
    lease_token: str
    lease_seconds: float
    #: The job was canceled, so that the provider is to be asked to stop.
    cancel: bool
    traceparent: str
    #: How much longer its end is worth waiting for.
    seconds_left: float
    #: The job failed and can be retried: what the call brings is staged.
    keep: bool = False
    #: What the provider said when it was asked to stop, at an earlier look.
    cancel_answer: CancelOutcome | None = None


class JobService(Protocol):
    """Decides. Every method raises `ServiceError` when it is refused or cannot be asked."""

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Job]]:
        """Jobs that are due, at most one per token; the same again for the same tokens."""

    async def renew(self, jobs: Sequence[Job]) -> Mapping[str, Renewal]:
        """What became of each lease, by token."""

    async def begin_call(
        self,
        job: Job,
        *,
        call_id: str,
        provider: str,
        model: str,
        indexes: Sequence[int],
        digest: str,
        known: Known,
    ) -> Call:
        """Write a call down before it leaves, after what is known; the same id again gives the same call."""

    async def resend_call(self, job: Job, call: Call, *, known: Known) -> Call:
        """Allow an earlier call to be sent again under its own key."""

    async def follow_call(self, job: Job, call: Call, *, known: Known) -> Call:
        """Say that the operation of an earlier call is followed; the call, with its token."""

    async def record_operation(self, call: Call, operation: Operation) -> None:
        """Write down the provider's operation id; answers within a second or not at all."""

    def read_input(self, job: Job, index: int) -> AsyncIterator[bytes]:
        """An input image that came as bytes, in chunks."""

    async def release(self, job: Job, *, known: Known) -> None:
        """Hand a job back, after what is known."""

    async def claim_settlements(self, tokens: Sequence[str]) -> Sequence[tuple[str, Settlement]]:
        """Open calls of final jobs."""

    async def renew_settlements(self, settlements: Sequence[Settlement]) -> Mapping[str, Renewal]:
        """What became of each settlement, by token."""

    async def postpone_settlement(
        self, settlement: Settlement, *, cancel_answer: CancelOutcome | None, shortest_pause: float
    ) -> None:
        """Give a call back that has not ended; what is not said of a cancel leaves what was said before."""


class Facts(Protocol):
    """Takes facts. A call returns when its fact is safe; else it raises `BrokerUnavailable`, and may be repeated."""

    async def call_accepted(self, fact_id: str, *, job: Job, call: Call, operation: Operation) -> None:
        """A provider named an operation."""

    async def images_generated(
        self,
        fact_id: str,
        *,
        job: Job,
        calls: Sequence[Outcome],
        images: Sequence[StagedImage],
        warnings: Sequence[JobWarning],
    ) -> None:
        """The generating stage ended with images."""

    async def stage_failed(
        self,
        fact_id: str,
        *,
        job: Job,
        error: StageError,
        calls: Sequence[Outcome],
        images: Sequence[StagedImage],
    ) -> None:
        """The claim ended without its result."""

    async def ledger_settled(
        self, fact_id: str, *, job: Job, calls: Sequence[Outcome], images: Sequence[StagedImage]
    ) -> None:
        """Calls ended under a claim that moves the job no more."""

    async def call_settled(
        self,
        fact_id: str,
        *,
        settlement: Settlement,
        outcome: Outcome,
        cancel: CancelOutcome | None,
        images: Sequence[StagedImage],
    ) -> None:
        """A call of a final job ended, and these of its images are staged."""

    async def progress(self, job: Job, *, percent: float) -> None:
        """Live word of progress; lost if nobody listens."""


@dataclass(frozen=True, kw_only=True)
class RawResult:
    """Something that a call brought and nobody could read, in staging as it came; `part` as in `Keeper.keep_raw`."""

    name: str
    part: str
    size_bytes: int


class Staging(Protocol):
    """The private bucket; methods raise the errors of `common.object_store`."""

    async def put(self, image: StagedImage, data: bytes, *, count: int) -> StagedImage:
        """Write an image; what an earlier writer put there is adopted and returned."""

    async def of_call(self, job_id: str, call_id: str) -> tuple[list[StagedImage], int]:
        """The images that a call has in staging, and how many it has in all (0 when none is there)."""

    async def put_raw(self, name: str, data: bytes) -> None:
        """Write something that is not known to be an image; it is none of the call's images."""

    async def raw_of_call(self, job_id: str, call_id: str) -> Sequence[RawResult]:
        """What a call has in staging of that kind."""

    async def get_raw(self, name: str) -> bytes:
        """The bytes of one of them."""


class ImageReader(Protocol):
    """Turns what a provider or a caller gave into bytes, and bytes into facts. Raises `StageError`."""

    async def read(self, source: ImageSource, *, provider: ImageProvider) -> bytes:
        """The encoded image of a source; URLs are fetched behind a guard."""

    async def read_input(self, url: str) -> bytes:
        """An input image from the caller's address, fetched behind the guard."""

    async def prepare_input(self, data: bytes) -> "PreparedInput":
        """An input image that decodes, the right way up, without metadata; else as it is."""

    async def mask(self, data: bytes, form: MaskForm) -> bytes:
        """A mask in the form that a provider reads, as a PNG."""

    async def inspect(self, data: bytes) -> "Inspected":
        """Decode and measure."""

    async def deliverable(self, data: bytes, *, provider: str) -> tuple[bytes, "Inspected"]:
        """An image of a provider as it is delivered, and what that is: without metadata where its entry says so."""

    async def found_in(self, body: bytes, *, most: int) -> Sequence[ImageSource]:
        """Images that decode, of an answer that no adapter could read: the last ones, at most so many."""

    def may_hold_images(self, body: bytes) -> bool:
        """Whether there are traces of images in an answer."""


@dataclass(frozen=True, kw_only=True)
class PreparedInput:
    """An input image as providers are sent it."""

    data: bytes
    #: Whether something beside its pixels was left out: where and by whom it was taken, and the like.
    lost_metadata: bool


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What an encoded image is, by its bytes."""

    content_type: str
    width: int
    height: int
    sha256: str
    blurhash: str
    c2pa: bool
