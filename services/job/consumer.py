"""Reads facts and folds them: many in one transaction, acknowledged after its commit."""

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

from calotype import streams
from calotype.fact.v1 import fact_pb2
from google.protobuf.message import DecodeError
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from common.consuming import Ack, Message, Reject, Retry, Verdict, consume
from common.health import Readiness
from common.jetstream import JetStream
from common.logs import event
from common.postgres import Database, DatabaseUnavailable
from common.pulling import ConsumerSpec
from services.job import migrations
from services.job.application import folding
from services.job.domain.facts import JobFact
from services.job.domain.limits import Limits
from services.job.messages.incoming import Undecodable, job_fact
from services.job.relay import OutboxRelay
from services.job.store import deletions, jobs

_LOG = logging.getLogger(__name__)
DEAD_SUBJECT = f"{streams.DEAD}.fact"
#: A fact that only a newer version knows waits for that version, for about a day.
UNKNOWN_TYPE_RETRY_SECONDS = 600.0
UNKNOWN_TYPE_DELIVERIES = 144
#: A constraint that refuses a fact so often will refuse it for ever.
REFUSED_DELIVERIES = 3
#: Seconds in which a batch is surely folded when all is well.
SHORTEST_ACK_WAIT = 2.0


def facts_consumer(limits: Limits) -> ConsumerSpec:
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
    """Folds what workers state."""

    def __init__(self, database: Database, broker: JetStream, relay: OutboxRelay, limits: Limits) -> None:
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
            dead_subject=DEAD_SUBJECT,
        )

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        """Fold a batch in one transaction; if that is refused, one by one, so that a bad fact harms only itself."""
        try:
            verdicts = await self._database.run(lambda connection: self._fold_all(connection, messages))
        except DatabaseUnavailable:
            self.may_fetch = False
            return [Retry(1.0) for _ in messages]
        except (IntegrityError, DataError):
            verdicts = [await self._fold_one(message) for message in messages]
        self._relay.wake()
        if self._frees_a_place:
            self._frees_a_place = False
            await self._relay.wake_generators()
        return verdicts

    async def _fold_one(self, message: Message) -> Verdict:
        try:
            [verdict] = await self._database.run(lambda connection: self._fold_all(connection, [message]))
        except DatabaseUnavailable:
            return Retry(1.0)
        except (IntegrityError, DataError) as error:
            event(_LOG, logging.ERROR, "fact.refused", subject=message.subject, error=type(error).__name__)
            if message.delivered < REFUSED_DELIVERIES:
                return Retry(1.0)
            return Reject(f"the database refuses it: {str(error.orig)[:300]}")
        return verdict

    def _fold_all(self, connection: Connection, messages: Sequence[Message]) -> list[Verdict]:
        now = jobs.clock(connection)
        verdicts: list[Verdict] = []
        facts: list[JobFact] = []
        for message in messages:
            try:
                told = fact_pb2.Fact.FromString(message.body)
                if told.WhichOneof("fact") is None:
                    verdicts.append(_unknown_type(message))
                    continue
                if told.WhichOneof("fact") == "objects_deleted":
                    gone = told.objects_deleted
                    deletions.done(connection, gone.deletion_id, UUID(gone.lease_token))
                else:
                    facts.append(job_fact(told, now=now))
                verdicts.append(Ack())
            except (DecodeError, Undecodable, ValueError) as error:
                verdicts.append(Reject(f"it cannot be decoded: {str(error)[:300]}"))
        folded = folding.fold(connection, facts, limits=self._limits)
        self._frees_a_place |= folded.frees_a_place
        if folded.late or folded.unknown:
            event(_LOG, logging.INFO, "facts.late", late=folded.late, unknown=folded.unknown)
        return verdicts

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


def _unknown_type(message: Message) -> Verdict:
    if message.delivered < UNKNOWN_TYPE_DELIVERIES:
        return Retry(UNKNOWN_TYPE_RETRY_SECONDS)
    return Reject("no version here knows this type of fact")
