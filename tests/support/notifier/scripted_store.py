"""The notifier's store and use cases on a real database, with scripted receivers and a scripted job-service."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import grpc
from calotype.error_reasons import Reason

from common.errors import ServiceError
from common.postgres import open_pool
from common.sql import Connection, text, transaction
from services.notifier.application import attempts, webhook_changes, webhook_creation
from services.notifier.application.payloads import WEBHOOK
from services.notifier.application.webhook_requests import EndpointChange, NewWebhook
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.endpoints import Endpoint, Secret, SignatureScheme, SlotShare
from services.notifier.domain.events import COMPLETED, JobEvent
from services.notifier.ports import EventKey, FinalEvents, JobPayload
from services.notifier.store import claims, fan_out, listing, readiness
from services.notifier.store.claims import DeliveryClaim

T = TypeVar("T")
SUCCESS = AttemptOutcome(duration_ms=20, status=204)
FAILURE = AttemptOutcome(
    duration_ms=20, status=500, error=AttemptError.STATUS, message="The receiver returned status 500."
)
GONE = AttemptOutcome(duration_ms=20, status=410, error=AttemptError.STATUS)
ROOTS = (
    "webhook_endpoints", "webhook_secrets", "webhook_requests", "webhook_notices", "webhook_redeliveries",
)  # fmt: skip
#: Every column that holds a time; only time moves, no row is written as a trigger would see it.
TIMES = {
    "webhook_endpoints": (
        "created_at", "failing_since", "window_started_at", "blocked_until", "disabled_at", "minute_started_at",
        "rate_until", "served_at", "ready_at", "deleted_at",
    ),
    "webhook_secrets": ("created_at", "expires_at"),
    "webhook_deliveries": ("created_at", "due_at", "leased_until", "expires_at", "ended_at", "occurred_at"),
    "webhook_requests": ("created_at",),
    "webhook_redeliveries": ("created_after", "created_before", "position_at"),
}  # fmt: skip


def key_of(number: int = 0) -> bytes:
    """A key of 32 bytes."""
    return bytes([number % 256]) * 32


def job_event(job: str = "job_1", sequence: int = 1, type_: str = COMPLETED, **fields: Any) -> JobEvent:
    """An event that occurs now."""
    known = {"tenant": "acme", "occurred_at": datetime.now(UTC)} | fields
    return JobEvent(job_id=job, sequence=sequence, type=type_, **known)


@dataclass
class Tables:
    """The tables of one database; each call is one transaction."""

    run: Callable[[Callable[[Connection], Any]], Any]

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        """Run a statement; its rows, if it has any."""

        def work(connection: Connection) -> list[Any]:
            result = connection.execute(text(statement), parameters)
            return result.all()

        return list(self.run(work))

    def endpoint(
        self, *, tenant: str = "acme", url: str = "https://example.com/", types: Sequence[str] = ()
    ) -> Endpoint:
        """A new endpoint."""
        new = NewWebhook(tenant=tenant, url=url, event_types=tuple(types))
        created = self.run(lambda c: webhook_creation.create(c, new, per_tenant=10_000, new_key=key_of))
        endpoint: Endpoint = created.webhook.endpoint
        return endpoint

    def working(self, **fields: Any) -> Endpoint:
        """A new endpoint that is not slow."""
        endpoint = self.endpoint(**fields)
        self.sql("UPDATE webhook_endpoints SET is_slow = false WHERE id = :id", id=endpoint.id)
        return endpoint

    def look(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint as it is now."""
        return replace(self.run(lambda c: webhook_changes.endpoints.get(c, endpoint.id)))

    def change(self, endpoint: Endpoint, **fields: Any) -> None:
        """Change an endpoint as its tenant would."""
        written = f"{WEBHOOK}_{endpoint.id.hex}"
        self.run(lambda c: webhook_changes.update(c, endpoint.tenant, written, EndpointChange(**fields)))

    def fan_out(self, *events: JobEvent) -> int:
        """Create the deliveries of events."""
        return int(self.run(lambda c: fan_out.fan_out(c, events, new_key=key_of)))

    def claim(
        self, limit: int = 100, *, share: SlotShare | None = None, per_minute: int = 6_000
    ) -> list[DeliveryClaim]:
        """Claim due deliveries: up to as many of each share, or of one."""
        work = [
            partial(claims.claim, share=each, limit=limit, per_minute=per_minute)
            for each in (SlotShare if share is None else [share])
        ]
        return [claim for each in work for claim in self.run(each)]

    def record(self, claim: DeliveryClaim, outcome: AttemptOutcome = SUCCESS) -> attempts.Recorded:
        """Record an outcome; no delay varies."""
        recorded: attempts.Recorded = self.run(
            lambda c: attempts.record(c, claim.delivery, outcome, jitter=lambda: 0.5)
        )
        return recorded

    def deliver(self, outcome: AttemptOutcome = SUCCESS) -> list[EventKey]:
        """Attempt all that is due; the events that were sent, in their order."""
        sent = []
        while claimed := self.claim():
            for claim in claimed:
                assert claim.delivery.job_id is not None
                assert claim.delivery.sequence is not None
                sent.append((claim.delivery.job_id, claim.delivery.sequence))
                self.record(claim, outcome)
        return sent

    def states(self, endpoint: Endpoint | None = None) -> dict[EventKey, DeliveryState]:
        """The stored state of each event of a job, of one endpoint or of all."""
        condition = "" if endpoint is None else f" WHERE endpoint_id = '{endpoint.id}'"
        found = self.sql(f"SELECT job_id, sequence, state FROM webhook_deliveries{condition} ORDER BY job_id, sequence")
        return {(row.job_id, row.sequence): DeliveryState(row.state) for row in found}

    def delivery_id(self, job: str = "job_1", sequence: int = 1, endpoint: Endpoint | None = None) -> UUID:
        """Id of the delivery of an event."""
        where = "job_id = :job AND sequence = :sequence" + (
            "" if endpoint is None else f" AND endpoint_id = '{endpoint.id}'"
        )
        [row] = self.sql(f"SELECT id FROM webhook_deliveries WHERE {where}", job=job, sequence=sequence)
        return UUID(str(row.id))

    def shown(self, delivery_id: UUID) -> Any:
        """The delivery as its tenant sees it."""
        found = self.run(lambda c: listing.get(c, delivery_id))
        return found[1]

    def pass_time(self, **duration: float) -> None:
        """Let time pass: all stored times move into the past."""

        def work(connection: Connection) -> None:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            for table, columns in TIMES.items():
                moved = ", ".join(f"{column} = {column} - :duration" for column in columns)
                connection.execute(text(f"UPDATE {table} SET {moved}"), {"duration": timedelta(**duration)})

        self.run(work)

    def check(self) -> None:
        """What holds whenever no transaction is open."""
        before = self.sql("SELECT id, ready_at FROM webhook_endpoints ORDER BY id")
        self.run(lambda c: readiness.refresh(c, [row.id for row in before]))
        assert self.sql("SELECT id, ready_at FROM webhook_endpoints ORDER BY id") == before
        assert self.sql(STUCK) == []


#: Lines of enabled endpoints where all wait, though nothing is due or being sent.
STUCK = """
SELECT endpoint_id, job_id FROM webhook_deliveries AS delivery
JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id
    AND disabled_reason IS NULL AND deleted_at IS NULL
WHERE job_id IS NOT NULL AND state IN ('waiting', 'pending', 'sending')
GROUP BY endpoint_id, job_id
HAVING count(*) FILTER (WHERE state IN ('pending', 'sending')) <> 1
    OR min(sequence) FILTER (WHERE state = 'waiting') < max(sequence) FILTER (WHERE state = 'pending')
"""


@contextmanager
def store_at(url: str) -> Iterator[Tables]:
    """The store of a database."""
    engine = open_pool(url, pool_size=8)

    def run(work: Callable[[Connection], T]) -> T:
        with transaction(engine) as connection:
            return work(connection)

    yield Tables(run)
    engine.dispose()


@dataclass
class ScriptedJobService:
    """Returns the events that a test appends, and a job for each that is not missing."""

    #: The feed.
    events: list[JobEvent] = field(default_factory=list)
    #: Whether calls fail.
    is_away: bool = False
    #: Events whose jobs are unknown.
    missing: set[EventKey] = field(default_factory=set)
    #: Events whose jobs cannot be read, nor what is read together with them.
    broken: set[EventKey] = field(default_factory=set)
    #: Calls of `jobs`: the keys of each.
    requested: list[set[EventKey]] = field(default_factory=list)
    #: Calls of `final_events`: the token of each.
    read: list[str | None] = field(default_factory=list)
    #: Runs within `final_events`, before it returns.
    meanwhile: Callable[[], None] = lambda: None

    async def final_events(self, *, resume_token: str | None, since: datetime, limit: int) -> FinalEvents:
        """Return the events after the number that the token is."""
        self.read.append(resume_token)
        self._respond()
        first = int(resume_token or 0)
        page = self.events[first : first + limit]
        last = first + len(page)
        self.meanwhile()
        return FinalEvents(events=page, resume_token=str(last), is_end=last >= len(self.events))

    async def jobs(self, keys: Collection[EventKey]) -> Mapping[EventKey, JobPayload]:
        """Return a job for each key."""
        self._respond()
        self.requested.append(set(keys))
        if self.broken & set(keys):
            raise RuntimeError("unreadable")
        return {key: JobPayload(json=f'{{"id":"{key[0]}"}}') for key in keys if key not in self.missing}

    def _respond(self) -> None:
        if self.is_away:
            raise ServiceError(status=grpc.StatusCode.UNAVAILABLE, reason=Reason("UNAVAILABLE"), message="Not there.")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request to a receiver."""

    #: URL.
    url: str
    #: Id of the delivery.
    delivery_id: UUID
    #: Event type.
    event_type: str
    #: Body.
    body: bytes
    #: Keys that sign it.
    keys: Sequence[bytes]


@dataclass
class ScriptedSender:
    """Returns outcomes that a test chose by URL, and waits where the test holds a URL."""

    #: All requests, in the order of their beginning.
    sent: list[Sent] = field(default_factory=list)
    #: Requests as they begin.
    begun: "asyncio.Queue[Sent]" = field(default_factory=asyncio.Queue)
    #: Outcomes by URL, in their order; without one, a success.
    outcomes: dict[str, deque[AttemptOutcome]] = field(default_factory=dict)
    #: URLs whose requests wait.
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    #: Requests under way, by URL, and the most at a time.
    under_way: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    #: Runs when a request begins.
    meanwhile: Callable[[Sent], None] = lambda sent: None

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
        """Record the request; return the next outcome."""
        sent = Sent(url=url, delivery_id=delivery_id, event_type=event_type, body=body, keys=[s.key for s in secrets])
        self.sent.append(sent)
        self.begun.put_nowait(sent)
        self.under_way[url] = self.under_way.get(url, 0) + 1
        self.most[url] = max(self.most.get(url, 0), self.under_way[url])
        try:
            self.meanwhile(sent)
            if url in self.held:
                await self.held[url].wait()
            scripted = self.outcomes.get(url)
            return scripted.popleft() if scripted else SUCCESS
        finally:
            self.under_way[url] -= 1
