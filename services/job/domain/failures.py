"""Failures of jobs and attempts: stage, code and reason."""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """The stage of a job in which a failure was caught; the code that catches it sets the stage."""

    #: Waiting for a generator.
    QUEUED = "queued"
    #: Claimed by a generator, before a provider call.
    PROCESSING = "processing"
    #: During a provider call.
    GENERATING = "generating"
    #: Copying images to the public bucket.
    UPLOADING = "uploading"
    #: Storing images, or checking that they were stored.
    PERSISTING = "persisting"


class Code(StrEnum):
    """Class of a failure; `retry_policy` decides by it how often a job is tried again."""

    #: Likely to pass by itself.
    TEMPORARY = "TEMPORARY"
    #: A limit of the provider was reached.
    RATE_LIMIT = "RATE_LIMIT"
    #: Took longer than allowed.
    TIMEOUT = "TIMEOUT"
    #: The provider refused the configured credential.
    AUTH_ERROR = "AUTH_ERROR"
    #: Another try would fail in the same way.
    PERMANENT = "PERMANENT"
    #: Not classified.
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job or an attempt did not succeed."""

    #: Where it was caught.
    stage: Stage
    #: Its class.
    code: Code
    #: Name in `calotype.error.v1.Reason`, without its prefix.
    reason: str
    #: One sentence for people; up to 2,000 characters.
    message: str
    #: Whether another try can help; False ends the job at once.
    retryable: bool
    #: Wait that the provider requested before the next try; None when it requested none.
    retry_after_seconds: float | None = None
