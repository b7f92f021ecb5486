"""Failures of jobs and attempts: stage, code and reason."""

from dataclasses import dataclass
from enum import StrEnum

from calotype.error_reasons import Code, Reason


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


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job or an attempt did not succeed."""

    #: Where it was caught.
    stage: Stage
    #: Its class.
    code: Code
    #: Its cause within the class.
    reason: Reason
    #: One sentence for people; up to 2,000 characters.
    message: str
    #: Whether another try can help; False ends the job at once.
    retryable: bool
    #: Wait that the provider requested before the next try; None when it requested none.
    retry_after_seconds: float | None = None
