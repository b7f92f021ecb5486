"""JobService: jobs, events and the catalogue, for clients."""

from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from typing import Any, TypeVar

from calotype.error.v1 import error_pb2
from calotype.error_reasons import Code, Reason
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

from common.grpc_server import GrpcService
from common.postgres import Database
from common.sql import Connection
from common.tracing import traceparent
from services.job.application import batch_submission, final_events, queries, quotas, submission, user_actions
from services.job.domain.circuit_breakers import Breaker
from services.job.domain.failures import Stage
from services.job.domain.jobs import Snapshot
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.states import State, Transition
from services.job.grpc_api import job_batches
from services.job.grpc_api.grouped_submissions import GroupedSubmissions
from services.job.grpc_api.job_spans import note_user_action
from services.job.grpc_api.status_codes import translate_errors
from services.job.grpc_api.validation import check_fingerprint, check_names
from services.job.grpc_api.watch_responses import WatchResponses
from services.job.loops.job_watchers import Watchers
from services.job.loops.outbox_relay import OutboxRelay
from services.job.messages import from_protobuf, to_protobuf
from services.job.messages.enums import member
from services.job.store import breakers, providers
from services.job.store.listing import Filters
from services.job.store.pools import Pool
from services.job.store.spending import spending_of

Context = Any
T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """Serves `calotype.job.v1.JobService`."""

    def __init__(self, database: Database, relay: OutboxRelay, watchers: Watchers, *, public_base_url: str) -> None:
        self._database = database
        self._relay = relay
        self._watchers = watchers
        self._public_base_url = public_base_url
        self._submissions = GroupedSubmissions(database)
        self._watch_responses = WatchResponses(public_base_url=public_base_url)

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.job.v1.JobService", add=job_service_pb2_grpc.add_JobServiceServicer_to_server, servicer=self
        )

    async def CreateJob(
        self, request: job_service_pb2.CreateJobRequest, context: Context
    ) -> job_service_pb2.CreateJobResponse:
        """Creates a job and returns it without waiting for its work."""

        async def work() -> submission.ActionResult:
            check_names(request.tenant, request.idempotency_key)
            check_fingerprint(request.fingerprint)
            new = submission.NewJob(
                tenant=request.tenant,
                idempotency_key=request.idempotency_key,
                fingerprint=request.fingerprint or job_batches.fingerprint(request.request),
                request=from_protobuf.request(request.request),
                input_bytes=from_protobuf.input_bytes(request.request),
                traceparent=traceparent(),
                quota=from_protobuf.quota(request),
                join_within_seconds=(request.join_within_seconds if request.HasField("join_within_seconds") else None),
            )
            return await self._submissions.submit(new)

        done = await translate_errors(work)
        self._relay.wake()
        return job_service_pb2.CreateJobResponse(
            job=self._job(done.snapshot), replayed=done.replayed, rate=to_protobuf.rate(done.rate)
        )

    async def CreateJobs(
        self, request: job_service_pb2.CreateJobsRequest, context: Context
    ) -> job_service_pb2.CreateJobsResponse:
        """Creates the jobs of a batch in one transaction; returns the result of each item."""

        async def work() -> batch_submission.BatchResult:
            batch = job_batches.batch_of(request, traceparent=traceparent())
            pool = Pool.INPUTS if batch.has_images else Pool.WRITES
            return await self._database.run(
                lambda connection: batch_submission.create_jobs(connection, batch), pool=pool
            )

        done = await translate_errors(work)
        self._relay.wake()
        return job_service_pb2.CreateJobsResponse(
            results=[job_batches.result(item, self._job) for item in done.results], rate=to_protobuf.rate(done.rate)
        )

    async def GetJob(self, request: job_service_pb2.GetJobRequest, context: Context) -> job_service_pb2.GetJobResponse:
        """Returns a job."""
        snapshot = await self._read(lambda connection: queries.get_job(connection, request.tenant, request.job_id))
        return job_service_pb2.GetJobResponse(job=self._job(snapshot))

    async def ListJobs(
        self, request: job_service_pb2.ListJobsRequest, context: Context
    ) -> job_service_pb2.ListJobsResponse:
        """Returns a page of jobs, newest first."""
        snapshots, token = await self._read(
            lambda connection: queries.list_jobs(
                connection, _filters(request), page_size=request.page_size, page_token=request.page_token
            ),
            pool=Pool.LISTS,
        )
        return job_service_pb2.ListJobsResponse(
            jobs=[self._job(snapshot) for snapshot in snapshots], next_page_token=token
        )

    async def CancelJob(
        self, request: job_service_pb2.CancelJobRequest, context: Context
    ) -> job_service_pb2.CancelJobResponse:
        """Cancels a job that is not final."""
        check_names(request.tenant, request.idempotency_key)
        tenant, job_id, key = request.tenant, request.job_id, request.idempotency_key
        done = await self._write(
            lambda connection: user_actions.cancel_job(connection, tenant, job_id, idempotency_key=key)
        )
        note_user_action(done, Transition.CANCEL)
        self._relay.wake()
        return job_service_pb2.CancelJobResponse(job=self._job(done.snapshot), replayed=done.replayed)

    async def RetryJob(
        self, request: job_service_pb2.RetryJobRequest, context: Context
    ) -> job_service_pb2.RetryJobResponse:
        """Retries a failed job."""
        check_names(request.tenant, request.idempotency_key)
        consents = request.on_ambiguous == job_pb2.ON_AMBIGUOUS_RETRY
        expected = request.expected_sequence if request.HasField("expected_sequence") else None
        retry = user_actions.UserRetry(
            tenant=request.tenant,
            job_id=request.job_id,
            idempotency_key=request.idempotency_key,
            fingerprint=submission.fingerprint_of(str(consents).encode(), str(expected).encode()),
            consents=consents,
            expected_sequence=expected,
            quota=from_protobuf.quota(request),
        )
        done = await self._write(lambda connection: user_actions.retry_job(connection, retry))
        note_user_action(done, Transition.USER_RETRY)
        self._relay.wake()
        return job_service_pb2.RetryJobResponse(
            job=self._job(done.snapshot), replayed=done.replayed, rate=to_protobuf.rate(done.rate)
        )

    async def TakeRequest(
        self, request: job_service_pb2.TakeRequestRequest, context: Context
    ) -> job_service_pb2.TakeRequestResponse:
        """Counts a request against its tenant's rate."""
        check_names(request.tenant, "")
        tenant, per_minute = request.tenant, max(request.requests_per_minute, 0)
        rate = await self._write(lambda connection: quotas.count_request(connection, tenant, per_minute))
        return job_service_pb2.TakeRequestResponse(rate=to_protobuf.rate(rate))

    async def DeleteJob(
        self, request: job_service_pb2.DeleteJobRequest, context: Context
    ) -> job_service_pb2.DeleteJobResponse:
        """Deletes a final job's images, inputs and personal data."""
        await self._write(lambda connection: user_actions.delete_job(connection, request.tenant, request.job_id))
        return job_service_pb2.DeleteJobResponse()

    async def ListFinalEvents(
        self, request: job_service_pb2.ListFinalEventsRequest, context: Context
    ) -> job_service_pb2.ListFinalEventsResponse:
        """Returns final events since a time, in the order of the feed."""
        read = final_events.list_references if request.references_only else final_events.list_snapshots
        found: final_events.Page[Any] = await self._read(
            lambda connection: read(
                connection,
                since=from_protobuf.moment(request, "since"),
                page_size=request.page_size,
                page_token=request.page_token,
            ),
            pool=Pool.LISTS,
        )
        only = request.references_only
        return job_service_pb2.ListFinalEventsResponse(
            jobs=[] if only else [self._job(snapshot) for snapshot in found.events],
            events=[to_protobuf.final_event_reference(event) for event in found.events] if only else [],
            next_page_token=found.next_page_token,
            resume_token=found.resume_token,
        )

    async def GetFinalEvents(
        self, request: job_service_pb2.GetFinalEventsRequest, context: Context
    ) -> job_service_pb2.GetFinalEventsResponse:
        """Returns final events by job and sequence, each with its job."""
        keys = [(key.job_id, key.sequence) for key in request.keys]
        found = await self._read(lambda connection: final_events.get_by_key(connection, keys))
        return job_service_pb2.GetFinalEventsResponse(
            events=[
                job_service_pb2.FinalEvent(
                    reference=to_protobuf.final_event_reference(event.reference),
                    job=self._job(event.snapshot),
                    traceparent=event.snapshot.job.traceparent or "",
                )
                for event in found
            ]
        )

    async def ListAttempts(
        self, request: job_service_pb2.ListAttemptsRequest, context: Context
    ) -> job_service_pb2.ListAttemptsResponse:
        """Returns every claim of a job."""
        found = await self._read(lambda connection: queries.list_attempts(connection, request.tenant, request.job_id))
        return job_service_pb2.ListAttemptsResponse(
            attempts=[to_protobuf.attempt(attempt, ledger, to_protobuf.call_for_clients) for attempt, ledger in found]
        )

    async def ListProviders(
        self, request: job_service_pb2.ListProvidersRequest, context: Context
    ) -> job_service_pb2.ListProvidersResponse:
        """Returns the providers that jobs may use now; with a tenant, those that it may use."""

        def work(connection: Connection) -> tuple[list[Provider], list[Breaker]]:
            offered = providers.offered(connection)
            if request.HasField("tenant"):
                offered = spending_of(connection, request.tenant).allowance.narrow(offered)
            return list(offered.values()), list(breakers.all_breakers(connection).values())

        known, failing = await self._read(work)
        return job_service_pb2.ListProvidersResponse(
            providers=[to_protobuf.provider(provider, failing) for provider in known]
        )

    async def WatchJob(
        self, request: job_service_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        """Streams a job's changes until the final one."""
        tenant, job_id = request.tenant, request.job_id
        after = request.after_sequence if request.HasField("after_sequence") else None
        # Most streams are opened right after the job was read: its position and its wait are read for those alone that
        # are sent them.
        seen = await self._read(lambda connection: queries.find(connection, tenant, job_id))
        # Sent at once, as the first change may take long: the client learns that the stream is open.
        await context.send_initial_metadata(())
        if after is None or after > seen.sequence:
            snapshot = await self._read(lambda connection: queries.get_job(connection, tenant, job_id))
            yield job_service_pb2.WatchJobResponse(job=self._job(snapshot))
            seen, after = snapshot.job, snapshot.job.sequence
        if seen.is_final and after >= seen.sequence:
            return
        async for change in self._watchers.follow(tenant, job_id, after=after):
            yield self._watch_responses.of(change)

    async def _read(self, work: Callable[[Connection], T], *, pool: Pool = Pool.READS) -> T:
        return await translate_errors(lambda: self._database.run(work, pool=pool))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await translate_errors(lambda: self._database.run(work, pool=Pool.WRITES))

    def _job(self, snapshot: Snapshot) -> job_pb2.Job:
        return to_protobuf.job(
            snapshot,
            public_base_url=self._public_base_url,
            generated_percent=self._watchers.live_progress.of(snapshot.job),
        )


def _state(status: int) -> State:
    state = member(State, job_pb2.Status, "STATUS", status)
    if state is None:
        # Ignored, it would filter nothing, and the caller would take every job for one of this status.
        raise Refusal(Reason.INVALID_INPUT, f"statuses: there is no status {status}.")
    return state


def _member_or_empty(kind: type[E], enum: Any, field: str, prefix: str, value: int) -> str:
    """Returns the domain's name of an enum number, "" for 0. Raises `Refusal` INVALID_INPUT for an unknown one."""
    found = member(kind, enum, prefix, value)
    if found is None and value:
        raise Refusal(Reason.INVALID_INPUT, f"{field}: there is no {value}.")
    return found or ""


def _filters(request: job_service_pb2.ListJobsRequest) -> Filters:
    return Filters(
        tenant=request.tenant,
        states=tuple(_state(status) for status in request.statuses),
        provider=request.provider,
        failure_stage=_member_or_empty(Stage, error_pb2.Stage, "failure_stage", "STAGE", request.failure_stage),
        failure_code=_member_or_empty(Code, error_pb2.Code, "code", "CODE", request.code),
        end_user=request.end_user,
        created_after=from_protobuf.moment(request, "created_after"),
        created_before=from_protobuf.moment(request, "created_before"),
        metadata=dict(request.metadata),
    )
