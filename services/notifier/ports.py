"""Ports of the notifier: the interfaces to job-service and to receivers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.notifier.domain.attempts import AttemptOutcome
from services.notifier.domain.endpoints import Secret, SignatureScheme
from services.notifier.domain.events import JobEvent

#: Id of a job, and its sequence after an event.
EventKey = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class FinalEvents:
    """A page of final events."""

    #: In the order of the feed.
    events: Sequence[JobEvent]
    #: Token by which the next call continues after this page.
    resume_token: str
    #: Whether there are no later events for now.
    is_end: bool


class ResumeTokenRefused(Exception):
    """job-service does not know a resume token: its database or its format of tokens is another one by now."""


@dataclass(frozen=True, kw_only=True)
class JobPayload:
    """A job, as it is sent to receivers."""

    #: JSON of the job, as REST writes it.
    json: str
    #: W3C traceparent of the job; empty without a trace.
    traceparent: str = ""


class JobService(Protocol):
    """Interface to job-service. Every method raises `ServiceError` when the call is refused or gets no response."""

    async def final_events(self, *, resume_token: str | None, since: datetime, limit: int) -> FinalEvents:
        """Returns up to `limit` final events after the token; without a token, those that occurred after `since`.

        Raises `ResumeTokenRefused`.
        """

    async def jobs(self, keys: Collection[EventKey]) -> Mapping[EventKey, JobPayload]:
        """Returns each job as it was after its event. Unknown keys are left out."""


class Sender(Protocol):
    """Posts events to receivers."""

    async def send(
        self,
        url: str,
        *,
        delivery_id: UUID,
        event_type: str,
        body: bytes,
        secrets: Sequence[Secret],
        scheme: SignatureScheme,
        traceparent: str | None,
    ) -> AttemptOutcome:
        """Makes one attempt, signed with each of the secrets; raises nothing for what a receiver does."""
