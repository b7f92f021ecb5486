"""Consumes facts and applies them: many in one transaction, acknowledged after its commit."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from calotype import streams
from calotype.error_reasons import Code, Reason
from calotype.fact.v1 import fact_pb2
from google.protobuf.message import DecodeError

from common.consuming import Ack, Message, Park, Reject, Retry, Verdict, consume
from common.declarations import ConsumerSpec
from common.health import Readiness
from common.jetstream import JetStream
from common.logs import event
from common.postgres import Database, DatabaseUnavailable, LockTimeout
from common.sql import Connection, text
from common.telemetry import metrics, registry
from services.job.application import apply_facts, fact_checks
from services.job.application.fact_checks import RefusedFact
from services.job.domain.facts import JobFact, StageFailed
from services.job.domain.failures import Failure
from services.job.domain.proofs import FactMessage
from services.job.domain.timeouts import StageTimeouts
from services.job.loops.fact_verdicts import blocked_verdict, error_text, retry_later, verdict_on
from services.job.loops.outbox_relay import OutboxRelay
from services.job.messages.from_protobuf import Contradiction, Undecodable, claim_of, job_fact
from services.job.messages.subjects import may_come_on
from services.job.migrations import MIGRATIONS
from services.job.store import deletions, jobs

_LOG = logging.getLogger(__name__)
#: Seconds within which a batch is normally applied.
SHORTEST_ACK_WAIT = 2.0
#: Longest seconds to wait for a lock with a batch, and with a single fact. Locked jobs are skipped without waiting.
TOGETHER_SECONDS, ALONE_SECONDS = 1.0, 0.25
#: Failure message of a job whose worker's fact was refused.
PUT_ASIDE = "The worker's report cannot be stored; an operator finds it among the dead letters."
#: Verdicts, as the metric names them.
_VERDICTS = {Ack: "applied", Retry: "retried", Park: "parked", Reject: "dead_lettered"}
#: Consecutive facts without a database after which the database counts as unavailable.
MAX_DATABASE_FAILURES = 3


def facts_consumer(limits: StageTimeouts) -> ConsumerSpec:
    """Returns the consumer of facts: a crashed replica's facts are delivered again after the duration of a lease.

    The stale-job monitor waits for them before it rescues a job, as one may be about that job.
    """
    return ConsumerSpec(
        stream=streams.FACTS["name"],
        durable=streams.FACTS_CONSUMER,
        subject="calotype.fact.>",
        ack_wait_seconds=max(limits.lease_seconds, SHORTEST_ACK_WAIT),
    )


class FactConsumer:
    """Applies workers' facts. A faulty fact affects no other fact."""

    def __init__(self, database: Database, broker: JetStream, relay: OutboxRelay, limits: StageTimeouts) -> None:
        self._database = database
        self._broker = broker
        self._relay = relay
        self._limits = limits
        self._spec = facts_consumer(limits)
        #: Whether an applied fact freed a provider's slot, for which jobs may wait.
        self._frees_slot = False
        #: False while the database is known to be unavailable.
        self.may_fetch = True

    async def run(self, stop: asyncio.Event) -> None:
        """Applies facts until `stop` is set; fetches none while the database is unavailable."""
        await consume(
            self._broker,
            self._spec,
            self.handle,
            stop=stop,
            may_fetch=lambda: self.may_fetch,
            parked_subject=streams.PARKED_FACT,
            dead_subject=streams.DEAD_FACT,
        )

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        """Applies a batch in one transaction; if that fails for any reason, one fact at a time."""
        try:
            verdicts = await self._apply(messages, lock_seconds=TOGETHER_SECONDS)
        except Exception as error:  # noqa: BLE001 - each fact is applied alone, which shows the faulty one
            if await self._is_database_unavailable(error):
                return [Retry(1.0) for _ in messages]
            if len(messages) > 1:
                reason = error_text(error)
                event(_LOG, logging.WARNING, "facts.applied_separately", facts=len(messages), reason=reason)
            verdicts = await self._apply_each(messages)
        verdicts = [
            await self._end_refused(message, verdict) for message, verdict in zip(messages, verdicts, strict=True)
        ]
        for verdict in verdicts:
            metrics.count(registry.FACTS, _VERDICTS[type(verdict)])
        self._relay.wake()
        if self._frees_slot:
            self._frees_slot = False
            await self._relay.wake_generators()
        return verdicts

    async def _apply_each(self, messages: Sequence[Message]) -> list[Verdict]:
        """Applies facts one by one, for at most half of the broker's wait for acknowledgements."""
        verdicts: list[Verdict] = []
        waiting: set[str] = set()
        until, failures = time.monotonic() + self._spec.ack_wait_seconds / 2, 0
        for message in messages:
            if not self.may_fetch or time.monotonic() > until:
                verdicts.append(Retry(1.0))
                continue
            job_id = ""
            try:
                job_id = _job_of(message)
                if job_id in waiting:
                    # It must not overtake an earlier fact of its job that waits.
                    verdict: Verdict = retry_later(message)
                else:
                    [verdict] = await self._apply([message], lock_seconds=ALONE_SECONDS)
                failures = 0
            except Exception as error:  # noqa: BLE001 - the failure of a fact decides about that fact alone
                failures = failures + 1 if isinstance(error, DatabaseUnavailable) else 0
                is_away = failures >= MAX_DATABASE_FAILURES and not isinstance(error, LockTimeout)
                if is_away or await self._is_database_unavailable(error):
                    self.may_fetch = False
                    verdict = Retry(1.0)
                else:
                    verdict = verdict_on(message, error)
            if job_id and isinstance(verdict, Retry | Park):
                waiting.add(job_id)
            verdicts.append(verdict)
        return verdicts

    async def _end_refused(self, message: Message, verdict: Verdict) -> Verdict:
        """Fails the job of a fact that is refused for good, and returns the verdict.

        The worker that sent the fact has ended its claim, and each later one would send the same fact. A parked fact
        will be applied later.
        """
        claim = claim_of(message.body, subject=message.subject) if isinstance(verdict, Reject) else None
        if claim is None:
            return verdict
        fence, stage = claim
        failure = Failure(stage=stage, code=Code.UNKNOWN, reason=Reason.INTERNAL, message=PUT_ASIDE, retryable=False)

        def end(connection: Connection) -> None:
            _set_lock_timeout(connection, ALONE_SECONDS)
            self._apply_facts(connection, [StageFailed(fence=fence, failure=failure)])

        try:
            await self._database.run(end)
        except DatabaseUnavailable:
            return Retry(1.0)
        except Exception as error:  # noqa: BLE001 - the fact is refused all the same, and the job's lease expires
            event(_LOG, logging.ERROR, "fact.job_not_ended", job_id=fence.job_id, reason=error_text(error))
        return verdict

    async def _is_database_unavailable(self, error: Exception) -> bool:
        """Whether facts failed because the database is unavailable, rather than because of a fact or a lock."""
        if not isinstance(error, DatabaseUnavailable) or isinstance(error, LockTimeout):
            return False
        try:
            await self._database.ping()
        except DatabaseUnavailable:
            self.may_fetch = False
            return True
        return False

    async def _apply(self, messages: Sequence[Message], *, lock_seconds: float) -> list[Verdict]:
        return await self._database.run(lambda connection: self._apply_all(connection, messages, lock_seconds))

    def _apply_all(self, connection: Connection, messages: Sequence[Message], lock_seconds: float) -> list[Verdict]:
        now = _set_lock_timeout(connection, lock_seconds)
        contents = [_read(message, now) for message in messages]
        # All at once, so that no job is skipped for one of its facts and free for the next.
        job_facts = [content for content in contents if isinstance(content, FactMessage)]
        named = {content.fact.job_id for content in job_facts}
        held = jobs.lock_free(connection, named) if named else None
        blocked = jobs.existing(connection, named.difference(held.jobs)) if held else set()
        free = [content for content in job_facts if content.fact.job_id not in blocked]
        admitted = iter(fact_checks.admit(connection, free))
        verdicts: list[Verdict] = []
        facts: list[JobFact] = []
        for message, content in zip(messages, contents, strict=True):
            if isinstance(content, FactMessage):
                if content.fact.job_id in blocked:
                    verdicts.append(blocked_verdict(message, "another transaction holds a lock on its job"))
                    continue
                fact = next(admitted)
                if isinstance(fact, RefusedFact):
                    verdicts.append(Reject(fact.reason))
                    continue
                facts.append(fact)
            elif isinstance(content, fact_pb2.ObjectsDeleted):
                deletions.note_empty(connection, [(content.deletion_id, UUID(content.lease_token))])
            else:
                verdicts.append(content)
                continue
            verdicts.append(Ack())
        self._apply_facts(connection, facts, held)
        return verdicts

    def _apply_facts(
        self, connection: Connection, facts: Sequence[JobFact], held: jobs.LockedJobs | None = None
    ) -> None:
        applied = apply_facts.apply_facts(connection, facts, limits=self._limits, locked=held)
        self._frees_slot |= applied.frees_slot
        if applied.late or applied.unknown:
            event(_LOG, logging.INFO, "facts.ignored", late=applied.late, unknown=applied.unknown)

    async def watch_database(self, ready: Readiness) -> None:
        """Checks whether the database is available with a current schema; sets readiness and `may_fetch`."""
        try:
            behind = await self._database.run(MIGRATIONS.is_behind)
        except DatabaseUnavailable as error:
            self.may_fetch = False
            ready.set("database", False, str(error))
        else:
            self.may_fetch = not behind
            ready.set("database", True)
            ready.set("schema", not behind, "The schema is older than this program: run calotype migrate.")


def _set_lock_timeout(connection: Connection, seconds: float) -> datetime:
    """Limits the wait for each lock of this transaction; returns the database's time."""
    statement = text("SELECT set_config('lock_timeout', :milliseconds, true), clock_timestamp() AS now")
    now: datetime = connection.execute(statement, {"milliseconds": str(int(seconds * 1000))}).one().now
    return now


def _job_of(message: Message) -> str:
    """Returns the id of the job that a message is about; "" for none."""
    content = _read(message, datetime.now(UTC))
    return content.fact.job_id if isinstance(content, FactMessage) else ""


def _read(message: Message, now: datetime) -> FactMessage | fact_pb2.ObjectsDeleted | Verdict:
    """Returns the content of a message, or the verdict on one that cannot be read."""
    try:
        fact = fact_pb2.Fact.FromString(message.body)
        match fact.WhichOneof("fact"):
            case None:
                return Park("no version here knows this type of fact yet")
            case kind if not may_come_on(message.subject, kind):
                return Reject(f"{kind} may not come on {message.subject[:100]}")
            case "objects_deleted":
                UUID(fact.objects_deleted.lease_token)
                return fact.objects_deleted
            case _:
                return job_fact(fact, now=now)
    except Contradiction as error:
        return Reject(str(error))
    except (DecodeError, Undecodable, ValueError) as error:
        return Reject(f"it cannot be decoded: {str(error)[:300]}")
