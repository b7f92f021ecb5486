"""What a provider call can come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from services.generator.domain import foreign_text


class Acceptance(StrEnum):
    """Whether a request that failed may have been carried out, and charged."""

    #: Surely not: it never left, or the provider said so.
    NOT_ACCEPTED = "not_accepted"
    #: Surely: the provider took it, then failed or refused.
    ACCEPTED = "accepted"
    #: Nobody knows.
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class VendorError:
    """What the vendor said: its words are cleaned and bounded here, whoever repeats them.

    `body` is all of a success that could not be read: it may hold images that were paid for.
    """

    http_status: int = 0
    code: str = ""
    message: str = ""
    request_id: str = ""
    body: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", foreign_text.clean(self.code, foreign_text.NAME))
        object.__setattr__(self, "message", foreign_text.clean(self.message, foreign_text.MESSAGE))
        object.__setattr__(self, "request_id", foreign_text.clean(self.request_id, foreign_text.NAME))


@dataclass(kw_only=True, eq=False)
class StageError(Exception):
    """Why a claim ends without its result: names of the error catalogue, words for a person.

    The message may repeat a vendor's words; it is cleaned and bounded. `deferred`: a limit held the job back before
    anything was sent.
    """

    stage: str = "GENERATING"
    code: str
    reason: str
    message: str
    retryable: bool
    retry_after_seconds: float | None = None
    deferred: bool = False

    def __post_init__(self) -> None:
        self.message = foreign_text.clean(self.message, foreign_text.MESSAGE)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def forget(self) -> Self:
        """Let go of where it was raised: whoever keeps an error would keep the answers and images there."""
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self


@dataclass(kw_only=True, eq=False)
class FetchError(StageError):
    """An image's address does not give it. Where that is not retryable, it may yet for so many seconds.

    `came` is what arrived with a success all the same: all of the image, where what was told of it is wrong.
    """

    appears_within_seconds: float = 0.0
    came: bytes = field(default=b"", repr=False)


@dataclass(kw_only=True, eq=False)
class ProviderError(StageError):
    """A provider call failed; `acceptance` decides whether another may follow."""

    acceptance: Acceptance
    vendor: VendorError = VendorError()


@dataclass(frozen=True, kw_only=True)
class JobWarning:
    """What went less than perfectly in a job that goes on: a name of the error catalogue, words for a person."""

    reason: str
    message: str


#: Of a job whose inputs told more than their pixels.
METADATA_REMOVED = JobWarning(
    reason="METADATA_REMOVED",
    message="Input images were sent without their metadata, such as place, camera and author.",
)


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """An image as the provider gave it: exactly one of bytes, base64 and URL; and what the vendor says of it."""

    data: bytes | None = None
    base64: str | None = None
    url: str | None = None
    seed: int | None = None
    revised_prompt: str | None = None

    def __post_init__(self) -> None:
        if self.revised_prompt is not None:
            object.__setattr__(
                self, "revised_prompt", foreign_text.clean(self.revised_prompt, foreign_text.REVISED_PROMPT)
            )

    @property
    def is_elsewhere(self) -> bool:
        """Whether its bytes are yet to be fetched."""
        return self.url is not None and not self.url.startswith("data:")


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A call's result; cost in millionths of a US dollar, None when unknown."""

    images: tuple[ImageSource, ...]
    cost_micros: int | None = None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A call that the provider accepted and works on; `state` is whatever its adapter needs to follow it."""

    id: str
    state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An operation that is not done; progress from 0 to 1 where the provider tells it."""

    progress: float | None = None


class CancelOutcome(StrEnum):
    """What became of the wish to cancel at the provider."""

    CONFIRMED = "confirmed"
    UNSUPPORTED = "unsupported"
    TOO_LATE = "too_late"
