"""Failures: stage, code, reason. And refusals: what an asker is told when the answer is no."""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """The part of a job's way in which a failure was caught, named by the code that caught it."""

    QUEUED = "queued"
    PROCESSING = "processing"
    GENERATING = "generating"
    UPLOADING = "uploading"
    PERSISTING = "persisting"


class Code(StrEnum):
    """Class of a failure; it alone decides the automatic retry."""

    TEMPORARY = "TEMPORARY"
    RATE_LIMIT = "RATE_LIMIT"
    TIMEOUT = "TIMEOUT"
    AUTH_ERROR = "AUTH_ERROR"
    PERMANENT = "PERMANENT"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job or an attempt did not succeed.

    `reason` is a name of the catalogue in `calotype.error.v1.Reason`, without its prefix.
    """

    stage: Stage
    code: Code
    reason: str
    message: str
    retryable: bool
    retry_after_seconds: float | None = None
