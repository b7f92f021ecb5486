"""QueueService: unfinished work, use of providers and jobs of any tenant, for operators."""

from typing import Any

from calotype.job.v1 import job_pb2
from calotype.ops.v1 import queue_service_pb2, queue_service_pb2_grpc

from common.grpc_server import GrpcService
from common.postgres import Database
from common.sql import Connection
from services.job.application import queries
from services.job.domain.jobs import Lease
from services.job.grpc_api.status_codes import translate_errors
from services.job.messages import to_protobuf
from services.job.messages.enums import number
from services.job.store import breakers, provider_spend, provider_usage, providers, queue, throughput
from services.job.store.events import RecordedEvent
from services.job.store.pools import Pool


class QueueService(queue_service_pb2_grpc.QueueServiceServicer):
    """Serves `calotype.ops.v1.QueueService`."""

    def __init__(self, database: Database, *, public_base_url: str) -> None:
        self._database = database
        self._public_base_url = public_base_url

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.ops.v1.QueueService",
            add=queue_service_pb2_grpc.add_QueueServiceServicer_to_server,
            servicer=self,
        )

    async def GetQueue(
        self, request: queue_service_pb2.GetQueueRequest, context: Any
    ) -> queue_service_pb2.GetQueueResponse:
        """Returns the numbers of unfinished jobs and other work."""
        work = await translate_errors(lambda: self._database.run(queue.count, pool=Pool.LISTS))
        return queue_service_pb2.GetQueueResponse(
            jobs=_counts(work.total),
            oldest_queued_at=to_protobuf.timestamp(work.total.oldest_queued_at),
            tenants=[
                queue_service_pb2.TenantQueue(
                    tenant=tenant,
                    jobs=_counts(counts),
                    oldest_queued_at=to_protobuf.timestamp(counts.oldest_queued_at),
                )
                for tenant, counts in work.tenants.items()
            ],
            unpublished_messages=work.unpublished_messages,
            open_settlements=work.open_settlements,
            open_deletions=work.open_deletions,
            oldest_deletion_at=to_protobuf.timestamp(work.oldest_deletion_at),
            missing_objects=int(work.missing_objects),
        )

    async def GetThroughput(
        self, request: queue_service_pb2.GetThroughputRequest, context: Any
    ) -> queue_service_pb2.GetThroughputResponse:
        """Returns how many jobs ended, minute by minute, and the age of each stage."""
        found = await translate_errors(lambda: self._database.run(throughput.read, pool=Pool.LISTS))
        return _throughput(found)

    async def ListProviderUse(
        self, request: queue_service_pb2.ListProviderUseRequest, context: Any
    ) -> queue_service_pb2.ListProviderUseResponse:
        """Returns the current use of each provider."""
        found = await translate_errors(lambda: self._database.run(_use, pool=Pool.LISTS))
        return queue_service_pb2.ListProviderUseResponse(providers=found)

    async def GetAnyJob(
        self, request: queue_service_pb2.GetAnyJobRequest, context: Any
    ) -> queue_service_pb2.GetAnyJobResponse:
        """Returns a job of any tenant with its attempts, including the providers' messages, and its changes."""
        found = await translate_errors(
            lambda: self._database.run(
                lambda c: queries.get_any_job(c, request.job_id, events_before=request.events_before), pool=Pool.LISTS
            )
        )
        job = found.snapshot.job
        return queue_service_pb2.GetAnyJobResponse(
            tenant=job.tenant,
            job=to_protobuf.job(found.snapshot, public_base_url=self._public_base_url),
            attempts=[to_protobuf.attempt(attempt, ledger, to_protobuf.call) for attempt, ledger in found.attempts],
            lease=None if job.lease is None else _lease(job.lease, job.claim_number),
            events=[_event(event) for event in found.events],
            has_older_events=found.has_older_events,
        )


def _lease(lease: Lease, claim_number: int) -> queue_service_pb2.JobLease:
    return queue_service_pb2.JobLease(
        worker=lease.worker,
        claim_number=claim_number,
        locked_at=to_protobuf.timestamp(lease.locked_at),
        expires_at=to_protobuf.timestamp(lease.expires_at),
    )


def _event(event: RecordedEvent) -> queue_service_pb2.JobEvent:
    return queue_service_pb2.JobEvent(
        sequence=event.sequence,
        type=event.type,
        status=number(job_pb2.Status, "STATUS", event.state),
        occurred_at=to_protobuf.timestamp(event.occurred_at),
    )


def _counts(counts: queue.Counts) -> queue_service_pb2.JobCounts:
    return queue_service_pb2.JobCounts(
        queued=counts.queued,
        waiting=counts.waiting,
        processing=counts.processing,
        generating=counts.generating,
        uploading=counts.uploading,
        is_exact=counts.is_exact,
    )


def _throughput(found: throughput.Throughput) -> queue_service_pb2.GetThroughputResponse:
    return queue_service_pb2.GetThroughputResponse(
        minutes=[
            queue_service_pb2.MinuteCounts(
                starts_at=to_protobuf.timestamp(minute.starts_at),
                completed=minute.completed,
                failed=minute.failed,
                canceled=minute.canceled,
            )
            for minute in found.minutes
        ],
        now=to_protobuf.timestamp(found.now),
        counted_since=to_protobuf.timestamp(found.counted_since),
        failures=[queue_service_pb2.FailureCount(reason=reason, jobs=jobs) for reason, jobs in found.failures],
        stages=[
            queue_service_pb2.StageAge(status=number(job_pb2.Status, "STATUS", state), oldest_seconds=seconds)
            for state, seconds in found.oldest_in_stage.items()
        ],
    )


def _use(connection: Connection) -> list[queue_service_pb2.ProviderUse]:
    known, failing = providers.catalogue(connection), [*breakers.all_breakers(connection).values()]
    registered, used = providers.registrations(connection), provider_usage.of_providers(connection, known)
    spent = provider_spend.today(connection, known)
    return [
        queue_service_pb2.ProviderUse(
            provider=to_protobuf.provider(provider, failing),
            in_use=used.in_use.get(name, 0),
            calls_in_last_minute=used.begun.get(name, 0),
            registered_by=registered[name].by,
            registered_at=to_protobuf.timestamp(registered[name].at),
            spent_micros=spent[name].spent_micros,
            calls_without_cost=spent[name].calls_without_cost,
            spent_since=to_protobuf.timestamp(spent[name].since),
        )
        for name, provider in known.items()
    ]
