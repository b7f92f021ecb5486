"""Refused requests: the reason, the message, and the fields that are wrong."""

from collections.abc import Mapping
from dataclasses import dataclass

from calotype.error_reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One invalid field of a request."""

    #: Path of the field, such as `metadata.KEY` or `fallback.0`.
    field: str
    #: What is wrong, or what is allowed; one sentence.
    message: str


class Refusal(Exception):
    """A refused request.

    `message` is for people, `metadata` for programs. `hides` is for the audit alone: the requested object exists and is
    another tenant's.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        violations: tuple[Violation, ...] = (),
        retry_after_seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
        hides: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = violations
        self.retry_after_seconds = retry_after_seconds
        self.metadata = metadata or {}
        self.hides = hides


def job_not_found(job_id: str, *, hides: bool = False) -> Refusal:
    """Builds the refusal for a job that does not exist; another tenant's job gets the same message."""
    return Refusal(Reason.JOB_NOT_FOUND, f"There is no job {job_id[:80]!r}.", hides=hides)
