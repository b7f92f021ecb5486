"""Refused requests: the reason, the message, and the fields that are wrong."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One field that cannot be as it is."""

    field: str
    message: str


class Refusal(Exception):
    """A request that is answered with no.

    `reason` is of the catalogue; `metadata` is for programs.
    `hides` says, to the audit alone, that what was asked for is there and another tenant's.
    """

    def __init__(
        self,
        reason: str,
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
    """The same words for a job that never was and for another tenant's."""
    return Refusal("JOB_NOT_FOUND", f"There is no job {job_id[:80]!r}.", hides=hides)
