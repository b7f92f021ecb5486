"""Reads facts and folds them: many in one transaction, acknowledged after its commit."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from calotype import streams
from calotype.fact.v1 import fact_pb2
from google.protobuf.message import DecodeError
from sqlalchemy import Connection, text

from common.consuming import Ack, Message, Park, Reject, Retry, Verdict, consume
from common.declarations import ConsumerSpec
from common.health import Readiness
from common.jetstream import JetStream
from common.logs import event
from common.postgres import Database, DatabaseUnavailable, LockTimeout
from services.job import migrations
from services.job.application import apply_facts, fact_checks
from services.job.application.fact_checks import Refused
from services.job.domain.facts import JobFact, StageFailed
from services.job.domain.failures import Code, Failure
from services.job.domain.proofs import FactMessage
from services.job.domain.timeouts import StageTimeouts
from services.job.loops.fact_verdicts import blocked_verdict, later, verdict_on, words
from services.job.loops.outbox_relay import OutboxRelay
from services.job.messages.from_protobuf import Undecodable, Untrue, claim_of, job_fact
from services.job.messages.subjects import may_come_on
from services.job.store import deletions, jobs

_LOG = logging.getLogger(__name__)
#: Seconds in which a batch is surely folded when all is well.
SHORTEST_ACK_WAIT = 2.0
#: Longest wait for a lock, of a batch and of a fact that is folded alone. A locked job is not waited for at all.
TOGETHER_SECONDS, ALONE_SECONDS = 1.0, 0.25
#: What a job says whose worker's statement could not be taken.
PUT_ASIDE = "What its worker stated cannot be stored; an operator finds it among the dead letters."
#: So many facts in a row for which the database is not there are no matter of facts any more.
MAX_DATABASE_FAILURES = 3


def facts_consumer(limits: StageTimeouts) -> ConsumerSpec:
    """How facts are read: what a dead replica had in its hands comes again after a lease.

    The monitor rescues nobody before that, as the fact may be of the very job.
    """
    return ConsumerSpec(
        stream=streams.FACTS["name"],
        durable=streams.FACTS_CONSUMER,
        subject="calotype.fact.>",
        ack_wait_seconds=max(limits.lease_seconds, SHORTEST_ACK_WAIT),
    )


class FactConsumer:
    """Folds what workers state. Whatever a fact says, it harms only itself."""

    def __init__(self, database: Database, broker: JetStream, relay: OutboxRelay, limits: StageTimeouts) -> None:
        self._database = database
        self._broker = broker
        self._relay = relay
        self._limits = limits
        self._spec = facts_consumer(limits)
        #: Jobs may be waiting for a place at a provider that a folded fact has left.
        self._frees_a_place = False
        #: False while the database is known to be away.
        self.may_fetch = True

    async def run(self, stop: asyncio.Event) -> None:
        """Fold until told to stop; nothing is fetched while the database is away."""
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
        """Fold a batch in one transaction; if that fails, whatever it fails by, one by one."""
        try:
            verdicts = await self._apply(messages, patience=TOGETHER_SECONDS)
        except Exception as error:  # noqa: BLE001 - the facts are folded alone, where each shows what it does
            if await self._is_away(error):
                return [Retry(1.0) for _ in messages]
            if len(messages) > 1:
                event(_LOG, logging.WARNING, "facts.folded_alone", facts=len(messages), error=words(error))
            verdicts = await self._apply_each(messages)
        verdicts = [await self._ended(*one) for one in zip(messages, verdicts, strict=True)]
        self._relay.wake()
        if self._frees_a_place:
            self._frees_a_place = False
            await self._relay.wake_generators()
        return verdicts

    async def _apply_each(self, messages: Sequence[Message]) -> list[Verdict]:
        """Fold one by one, for no longer than the broker waits for an answer."""
        verdicts: list[Verdict] = []
        waiting: set[str] = set()
        until, unanswered = time.monotonic() + self._spec.ack_wait_seconds / 2, 0
        for message in messages:
            if not self.may_fetch or time.monotonic() > until:
                verdicts.append(Retry(1.0))
                continue
            job_id = ""
            try:
                job_id = _job_of(message)
                if job_id in waiting:
                    # It must not overtake an earlier fact, whose own verdict ends the wait.
                    verdict: Verdict = later(message)
                else:
                    [verdict] = await self._apply([message], patience=ALONE_SECONDS)
                unanswered = 0
            except Exception as error:  # noqa: BLE001 - what a fact does to the fold decides about that fact alone
                unanswered = unanswered + 1 if isinstance(error, DatabaseUnavailable) else 0
                away = unanswered >= MAX_DATABASE_FAILURES and not isinstance(error, LockTimeout)
                if away or await self._is_away(error):
                    self.may_fetch = False
                    verdict = Retry(1.0)
                else:
                    verdict = verdict_on(message, error)
            if job_id and isinstance(verdict, Retry | Park):
                waiting.add(job_id)
            verdicts.append(verdict)
        return verdicts

    async def _ended(self, message: Message, verdict: Verdict) -> Verdict:
        """The verdict, once the job of a fact that is refused for good has ended: nobody would tell its end again.

        A worker that stated it holds its claim no more, and each that comes after it would state the same. One that is
        parked will be folded yet.
        """
        claim = claim_of(message.body, subject=message.subject) if isinstance(verdict, Reject) else None
        if claim is None:
            return verdict
        fence, stage = claim
        failure = Failure(stage=stage, code=Code.UNKNOWN, reason="INTERNAL", message=PUT_ASIDE, retryable=False)

        def end(connection: Connection) -> None:
            _be_patient(connection, ALONE_SECONDS)
            self._apply_facts(connection, [StageFailed(fence=fence, failure=failure)])

        try:
            await self._database.run(end)
        except DatabaseUnavailable:
            return Retry(1.0)
        except Exception as error:  # noqa: BLE001 - it is put aside all the same, and its lease runs out
            event(_LOG, logging.ERROR, "fact.job_not_ended", job_id=fence.job_id, error=words(error))
        return verdict

    async def _is_away(self, error: Exception) -> bool:
        """Whether the fold failed because there is no database, rather than for what a fact says or somebody locks."""
        if not isinstance(error, DatabaseUnavailable) or isinstance(error, LockTimeout):
            return False
        try:
            await self._database.ping()
        except DatabaseUnavailable:
            self.may_fetch = False
            return True
        return False

    async def _apply(self, messages: Sequence[Message], *, patience: float) -> list[Verdict]:
        return await self._database.run(lambda connection: self._apply_all(connection, messages, patience))

    def _apply_all(self, connection: Connection, messages: Sequence[Message], patience: float) -> list[Verdict]:
        _be_patient(connection, patience)
        now = jobs.clock(connection)
        read = [_read(message, now) for message in messages]
        # All of them at once, so that no job is skipped for one of its facts and free for the next.
        locked = jobs.lock_free(connection, [one.fact.job_id for one in read if isinstance(one, FactMessage)])
        free = [one for one in read if isinstance(one, FactMessage) and one.fact.job_id not in locked]
        admitted = iter(fact_checks.admit(connection, free))
        verdicts: list[Verdict] = []
        facts: list[JobFact] = []
        for message, one in zip(messages, read, strict=True):
            if isinstance(one, FactMessage):
                if one.fact.job_id in locked:
                    verdicts.append(blocked_verdict(message, "somebody holds a lock on its job"))
                    continue
                fact = next(admitted)
                if isinstance(fact, Refused):
                    verdicts.append(Reject(fact.reason))
                    continue
                facts.append(fact)
            elif isinstance(one, fact_pb2.ObjectsDeleted):
                deletions.note_empty(connection, [(one.deletion_id, UUID(one.lease_token))])
            else:
                verdicts.append(one)
                continue
            verdicts.append(Ack())
        self._apply_facts(connection, facts)
        return verdicts

    def _apply_facts(self, connection: Connection, facts: Sequence[JobFact]) -> None:
        applied = apply_facts.apply_facts(connection, facts, limits=self._limits)
        self._frees_a_place |= applied.frees_slot
        if applied.late or applied.unknown:
            event(_LOG, logging.INFO, "facts.late", late=applied.late, unknown=applied.unknown)

    async def watch_database(self, ready: Readiness) -> None:
        """Look whether the database answers and has our schema: readiness says so, fetching goes on when it does."""
        try:
            behind = await self._database.run(migrations.is_behind)
        except DatabaseUnavailable as error:
            self.may_fetch = False
            ready.set("database", False, str(error))
        else:
            self.may_fetch = not behind
            ready.set("database", True)
            ready.set("schema", not behind, "The schema is older than this program: run calotype migrate.")


def _be_patient(connection: Connection, seconds: float) -> None:
    """Wait for a lock no longer than that, until the end of the transaction."""
    connection.execute(text(f"SET LOCAL lock_timeout = {int(seconds * 1000)}"))


def _job_of(message: Message) -> str:
    """The job that a fact is about, or ""."""
    one = _read(message, datetime.now(UTC))
    return one.fact.job_id if isinstance(one, FactMessage) else ""


def _read(message: Message, now: datetime) -> FactMessage | fact_pb2.ObjectsDeleted | Verdict:
    """What a message says, or what is to become of one that says nothing to us."""
    try:
        told = fact_pb2.Fact.FromString(message.body)
        match told.WhichOneof("fact"):
            case None:
                return Park("no version here knows this type of fact yet")
            case kind if not may_come_on(message.subject, kind):
                return Reject(f"{kind} may not come on {message.subject[:100]}")
            case "objects_deleted":
                UUID(told.objects_deleted.lease_token)
                return told.objects_deleted
            case _:
                return job_fact(told, now=now)
    except Untrue as error:
        return Reject(str(error))
    except (DecodeError, Undecodable, ValueError) as error:
        return Reject(f"it cannot be decoded: {str(error)[:300]}")
