"""Results and errors of provider calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from calotype.error_reasons import Code, Reason

from services.generator.domain import untrusted_text


class Acceptance(StrEnum):
    """Whether the provider accepted a failed request, and may have charged it."""

    #: Certainly not: the request was not sent, or the provider said so.
    NOT_ACCEPTED = "not_accepted"
    #: Certainly: the provider accepted the request, then failed or refused it.
    ACCEPTED = "accepted"
    #: Unknown.
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class VendorError:
    """The error as the provider's API returned it; texts are cleaned and bounded on construction."""

    #: HTTP status; 0: no HTTP response.
    http_status: int = 0
    #: The provider's error code; empty without one.
    code: str = ""
    #: The provider's message; empty without one.
    message: str = ""
    #: The provider's id of the request; empty without one.
    request_id: str = ""
    #: The whole body of a successful but unreadable response: it may hold images that were paid for.
    body: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", untrusted_text.clean(self.code, untrusted_text.NAME))
        object.__setattr__(self, "message", untrusted_text.clean(self.message, untrusted_text.MESSAGE))
        object.__setattr__(self, "request_id", untrusted_text.clean(self.request_id, untrusted_text.NAME))


@dataclass(kw_only=True, eq=False)
class StageError(Exception):
    """Why a claim ends without its result."""

    #: Stage of the job that failed, without prefix: `PROCESSING` or `GENERATING`.
    stage: str = "GENERATING"
    #: Class of the error.
    code: Code
    #: Cause of the error.
    reason: Reason
    #: What happened, for a person; it may quote the provider, and is cleaned and bounded.
    message: str
    #: Whether another attempt may succeed.
    retryable: bool
    #: Seconds after which another attempt makes sense; None: unknown.
    retry_after_seconds: float | None = None
    #: Whether a limit held the job back before anything was sent: the claim then does not count as an attempt.
    deferred: bool = False

    def __post_init__(self) -> None:
        self.message = untrusted_text.clean(self.message, untrusted_text.MESSAGE)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def forget(self) -> Self:
        """Drops traceback, cause and context: they would keep responses and images in memory. Returns the error."""
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self


@dataclass(kw_only=True, eq=False)
class FetchError(StageError):
    """An image could not be fetched from its URL."""

    #: Seconds in which the image may still appear, when the error is not retryable.
    appears_within_seconds: float = 0.0
    #: Bytes of a successful response that contradicts its headers: they may be the whole image.
    received: bytes = field(default=b"", repr=False)


@dataclass(kw_only=True, eq=False)
class ProviderError(StageError):
    """A provider call failed."""

    #: Whether the provider may have charged the call; decides whether another call may follow.
    acceptance: Acceptance
    #: The error as the provider's API returned it.
    vendor: VendorError = VendorError()


@dataclass(frozen=True, kw_only=True)
class JobWarning:
    """A remark about a job that continues."""

    #: Machine-readable reason.
    reason: Reason
    #: What happened, for a person.
    message: str


#: Warning of a job whose input images carried metadata.
METADATA_REMOVED = JobWarning(
    reason=Reason.METADATA_REMOVED,
    message="Input images were sent without their metadata, such as place, camera and author.",
)


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """An image as the provider returned it: exactly one of `data`, `base64` and `url` is set."""

    #: The encoded image.
    data: bytes | None = None
    #: The encoded image in base64.
    base64: str | None = None
    #: Address of the image, or a `data:` URL with its content.
    url: str | None = None
    #: Seed that the provider reported; None when unknown.
    seed: int | None = None
    #: Prompt that the provider used instead; None when unknown or unchanged.
    revised_prompt: str | None = None

    def __post_init__(self) -> None:
        if self.revised_prompt is not None:
            object.__setattr__(
                self, "revised_prompt", untrusted_text.clean(self.revised_prompt, untrusted_text.REVISED_PROMPT)
            )

    @property
    def is_elsewhere(self) -> bool:
        """Whether its bytes must be fetched from a URL."""
        return self.url is not None and not self.url.startswith("data:")


@dataclass(frozen=True, kw_only=True)
class TokenUsage:
    """The tokens of a call as the provider counted them, of text and images together."""

    #: Tokens of the prompt and the input images; None when unknown.
    inputs: int | None = None
    #: Tokens of the generated images and text; None when unknown.
    outputs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Generated:
    """The result of a successful call."""

    #: Images in the order of the call's indexes.
    images: tuple[ImageSource, ...]
    #: Cost in millionths of a US dollar; None when unknown.
    cost_micros: int | None = None
    #: Tokens, if the provider counts them.
    usage: TokenUsage = TokenUsage()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A call that the provider has accepted and is working on."""

    #: The provider's id of the operation.
    id: str
    #: Data that the adapter needs to follow the operation.
    state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An operation that is not finished."""

    #: Progress from 0 to 1; None when the provider does not report it.
    progress: float | None = None


class CancelOutcome(StrEnum):
    """Result of a cancel request to the provider."""

    #: The provider confirmed that it stopped.
    CONFIRMED = "confirmed"
    #: The provider cannot cancel.
    UNSUPPORTED = "unsupported"
    #: The operation had already ended.
    TOO_LATE = "too_late"
