"""Ports of the generator: the interfaces to providers, job-service, facts, staging and images, with their data."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.leased_work import Renewal
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import Call, Job, MaskForm, Request, StagedImage
from services.generator.domain.provider_results import (
    CancelOutcome,
    Generated,
    ImageSource,
    JobWarning,
    Operation,
    Pending,
    StageError,
)
from services.generator.domain.settlements import CallOutcome, Settlement, WorkerReport


@dataclass(frozen=True, kw_only=True)
class ProviderRequest:
    """One provider call as the adapter gets it."""

    #: The call's id in the ledger.
    call_id: str
    #: Key that is sent to the provider, so that a repeat is not charged again.
    idempotency_key: str
    #: Model to be called.
    model: str
    #: Images that the call is to make.
    count: int
    #: What the caller of the job wants.
    request: Request
    #: Seed of the first image; None: the provider chooses.
    seed: int | None = None
    #: Encoded input images in the order of the request, the mask last.
    inputs: tuple[bytes, ...] = ()
    #: Takes the progress of the call, from 0 to 1; may be called from any thread.
    report: Callable[[float], None] = field(default=lambda progress: None)


class ImageProvider(Protocol):
    """A provider of images. Methods raise `ProviderError`, classified by the adapter's error table.

    `submit` of a synchronous provider returns `Generated`, that of an asynchronous one an `Operation` to poll.
    """

    #: Unique name from the provider file.
    name: str
    #: Whether calls may be repeated, resumed or stopped.
    traits: Traits
    #: Images that one call can make.
    max_images_per_call: int
    #: Seconds that a call, or an operation, may take.
    timeout_seconds: float
    #: Seconds between two polls of an operation.
    poll_interval_seconds: float
    #: Host of the provider's own API, from which results may be fetched despite its address; None: no such host.
    trusted_host: str | None

    @property
    def allow_private_addresses(self) -> bool | Sequence[str]:
        """Private networks from which images may be fetched: all (True), none (False), or these hosts and networks."""

    def images_per_call(self, model: str) -> int:
        """Returns the number of images that one call of a model can make; by default `max_images_per_call`."""

    def mask_form(self, model: str) -> MaskForm:
        """Returns the form in which a model reads a mask."""

    async def submit(self, provider_request: ProviderRequest) -> Generated | Operation:
        """Sends the request."""

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Fetches the state of an operation. Raises `ProviderError` RESULT_LOST for one that no longer exists."""

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Reports the progress of an operation, from 0 to 1, as the provider pushes it.

        Returns True once the provider reports the end of the operation. Progress may be missing: `poll` is decisive.
        """

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Requests the provider to stop. A stoppable provider also gets calls without operation, by the call's id."""

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Returns the headers for fetching a result; empty except for those of the provider's hosts that need some."""

    def price(self, model: str, count: int) -> int | None:
        """Returns the price of `count` images in millionths of a US dollar; None when unknown."""

    async def close(self) -> None:
        """Closes connections."""


class JobService(Protocol):
    """Interface to job-service. Every method raises `ServiceError` when the call is refused or gets no response."""

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Job]]:
        """Claims due jobs, up to one per token; returns the same jobs when the same tokens are repeated."""

    async def renew(self, jobs: Sequence[Job]) -> Mapping[str, Renewal]:
        """Renews the leases of jobs; returns the outcome by token."""

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
        """Records a call before it is sent, after the worker's report; repeating a call id returns the same call.

        `digest`: SHA-256 of the request, 64 hex characters.
        """

    async def resend_call(self, job: Job, call: Call, *, report: WorkerReport) -> Call:
        """Gets permission to send an earlier call again, with its idempotency key; returns the call."""

    async def follow_call(self, job: Job, call: Call, *, report: WorkerReport) -> Call:
        """Reports that this claim follows the operation of an earlier call; returns the call, with its token."""

    async def record_operation(self, call: Call, operation: Operation) -> None:
        """Records the provider's operation id; waits one second for the response."""

    def read_input(self, job: Job, index: int) -> AsyncIterator[bytes]:
        """Reads an input image that the caller sent as bytes, in chunks."""

    async def release(self, job: Job, *, report: WorkerReport) -> None:
        """Gives up the lease of a job, after recording the worker's report."""

    async def claim_settlements(self, tokens: Sequence[str]) -> Sequence[tuple[str, Settlement]]:
        """Claims open provider calls of final jobs, up to one per token."""

    async def renew_settlements(self, settlements: Sequence[Settlement]) -> Mapping[str, Renewal]:
        """Renews the leases of open calls; returns the outcome by token."""

    async def postpone_settlement(
        self, settlement: Settlement, *, cancel_outcome: CancelOutcome | None, shortest_pause: float
    ) -> None:
        """Gives up the lease of a call that has not ended.

        `cancel_outcome` None keeps the recorded one. `shortest_pause`: seconds until the call may be due again.
        """


class Facts(Protocol):
    """Publishes facts.

    A method returns once the broker has stored the fact, or raises `BrokerUnavailable` and may be repeated with the
    same `fact_id`.
    """

    async def call_accepted(self, fact_id: str, *, job: Job, call: Call, operation: Operation) -> None:
        """A provider accepted a call and named an operation."""

    async def images_generated(
        self,
        fact_id: str,
        *,
        job: Job,
        calls: Sequence[CallOutcome],
        images: Sequence[StagedImage],
        warnings: Sequence[JobWarning],
    ) -> None:
        """The generating stage succeeded with these images."""

    async def stage_failed(
        self,
        fact_id: str,
        *,
        job: Job,
        error: StageError,
        calls: Sequence[CallOutcome],
        images: Sequence[StagedImage],
    ) -> None:
        """The claim ended with an error; `images` were staged all the same."""

    async def ledger_settled(
        self, fact_id: str, *, job: Job, calls: Sequence[CallOutcome], images: Sequence[StagedImage]
    ) -> None:
        """Calls ended under a claim that can no longer change the job."""

    async def call_settled(
        self,
        fact_id: str,
        *,
        settlement: Settlement,
        outcome: CallOutcome,
        cancel: CancelOutcome | None,
        images: Sequence[StagedImage],
    ) -> None:
        """A call of a final job ended, and these of its images are staged."""

    async def progress(self, job: Job, *, percent: float) -> None:
        """Publishes live progress, 0 to 100, to the current subscribers; it is not stored."""


@dataclass(frozen=True, kw_only=True)
class RawResult:
    """Unreadable data of a call in the staging bucket, stored unchanged."""

    #: Object name in the staging bucket.
    name: str
    #: Index of the image, or `answer` for a whole response.
    part: str
    #: Size in bytes.
    size_bytes: int


class Staging(Protocol):
    """The private staging bucket; methods raise the errors of `common.object_store`."""

    async def put(self, image: StagedImage, data: bytes, *, count: int) -> StagedImage:
        """Stores an image; returns the image that is there, which an earlier attempt may have stored.

        `count`: images of the call.
        """

    async def of_call(self, job_id: str, call_id: str) -> tuple[list[StagedImage], int]:
        """Returns the staged images of a call, and the number of images that the call has (0 when none is staged)."""

    async def put_raw(self, name: str, data: bytes) -> None:
        """Stores data that may not be an image; it does not count as one of the call's images."""

    async def raw_of_call(self, job_id: str, call_id: str) -> Sequence[RawResult]:
        """Returns the unreadable data that is stored for a call."""

    async def get_raw(self, name: str) -> bytes:
        """Returns the bytes of unreadable data."""


class ImageReader(Protocol):
    """Fetches, decodes and converts images. Methods raise `StageError`."""

    async def read(self, source: ImageSource, *, provider: ImageProvider) -> bytes:
        """Returns the encoded image of a source; fetches URLs with protection against SSRF."""

    async def read_input(self, url: str) -> bytes:
        """Fetches an input image from the caller's URL, with protection against SSRF."""

    async def prepare_input(self, data: bytes) -> "PreparedInput":
        """Returns an input image upright and without metadata; unchanged when it already is."""

    async def mask(self, data: bytes, form: MaskForm) -> bytes:
        """Returns a mask in the form that a provider reads, as a PNG."""

    async def inspect(self, data: bytes) -> "Inspected":
        """Decodes an image and returns its properties."""

    async def deliverable(self, data: bytes, *, provider: str) -> tuple[bytes, "Inspected"]:
        """Returns a provider's image as it is delivered, and its properties; without metadata if so configured."""

    async def images_in(self, body: bytes, *, limit: int) -> Sequence[ImageSource]:
        """Returns the decodable images in a response that its adapter could not read: the last `limit` of them."""

    def may_hold_images(self, body: bytes) -> bool:
        """Returns whether a response contains traces of images."""


@dataclass(frozen=True, kw_only=True)
class PreparedInput:
    """An input image as it is sent to providers."""

    #: The encoded image.
    data: bytes
    #: Whether metadata was removed, such as place, camera and author.
    lost_metadata: bool


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """Properties of an encoded image, by its bytes."""

    #: Media type.
    content_type: str
    #: Width in pixels.
    width: int
    #: Height in pixels.
    height: int
    #: SHA-256, 64 hex characters.
    sha256: str
    #: BlurHash, a short placeholder for the image.
    blurhash: str
    #: Whether it carries C2PA content credentials.
    c2pa: bool
