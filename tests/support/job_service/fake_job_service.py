"""job-service as its clients see it, in memory: real gRPC, real state, no rules beyond the contract."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import inf
from typing import Any

import grpc
from calotype.error.v1 import error_pb2
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from calotype.job_status import FINAL_STATUSES
from calotype.provider.v1 import provider_pb2

from common.errors import ServiceError
from common.grpc_server import GrpcService, serve
from common.health import Readiness
from common.ids import new_uuid7, prefixed

FINAL = tuple(job_pb2.Status.Value(f"STATUS_{name.upper()}") for name in FINAL_STATUSES)
NOON = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
Change = job_pb2.Job | job_service_pb2.Progress


def refusal(status: grpc.StatusCode, reason: str, message: str = "No.", **more: Any) -> ServiceError:
    """A no of the service."""
    return ServiceError(status=status, reason=Reason(reason), message=message, **more)


class FakeJobService(job_service_pb2_grpc.JobServiceServicer):
    """Keeps every version of every job; `refusals` are raised by the method of that name, each once, in order."""

    def __init__(self) -> None:
        self.history: dict[str, list[job_pb2.Job]] = {}
        self.requests: list[Any] = []
        self.parents: list[str | None] = []
        #: Seconds that each caller still had when its call arrived; streams are without end.
        self.remaining_seconds: list[float] = []
        self.refusals: dict[str, list[ServiceError]] = defaultdict(list)
        self.providers: list[provider_pb2.Provider] = []
        self.attempts: list[job_pb2.Attempt] = []
        self.next_page_token = ""
        self.watching = 0
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._watchers: dict[str, list[asyncio.Queue[Change | None]]] = defaultdict(list)
        self._changed = asyncio.Event()

    # Controls for tests.

    def add(self, *, tenant: str = "default", **fields: Any) -> job_pb2.Job:
        """A job that is there already."""
        job = job_pb2.Job(
            id=prefixed("job", new_uuid7()),
            tenant=tenant,
            status=job_pb2.STATUS_QUEUED,
            sequence=1,
            provider="procedural",
            model="v1",
            request=job_pb2.JobRequest(prompt="a harbour", n=1),
            cost=job_pb2.Cost(currency="USD", complete=True),
            image_count=1,
        )
        job.created_at.FromDatetime(NOON)
        job.updated_at.FromDatetime(NOON)
        job.MergeFrom(job_pb2.Job(**fields))
        self.history[job.id] = [job]
        return job

    def move(self, job_id: str, **fields: Any) -> job_pb2.Job:
        """Adds the next version of a job; watchers get it without its request."""
        job = job_pb2.Job()
        job.CopyFrom(self.history[job_id][-1])
        job.MergeFrom(job_pb2.Job(**fields, sequence=job.sequence + 1))
        self.history[job_id].append(job)
        self._notify(job_id, _bare(job))
        return job

    def progress(self, job_id: str, percent: float) -> None:
        """Live word from a provider."""
        self._notify(job_id, job_service_pb2.Progress(percent=percent, step=int(percent), steps=100))

    def break_streams(self, job_id: str) -> None:
        """End every stream of a job, as a service that stops does."""
        self._notify(job_id, None)

    async def until(self, holds: Callable[["FakeJobService"], bool]) -> None:
        """Wait until something holds that calls bring about."""
        while not holds(self):
            self._changed.clear()
            await self._changed.wait()

    def last(self, kind: type[Any]) -> Any:
        """The last request of a kind."""
        return next(request for request in reversed(self.requests) if isinstance(request, kind))

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.job.v1.JobService", add=job_service_pb2_grpc.add_JobServiceServicer_to_server, servicer=self
        )

    # Calls of clients.

    async def CreateJob(self, request: Any, context: Any) -> Any:
        """The job of the key, or a new one."""
        self._begin("CreateJob", request, context)
        return self._create(request)

    def _create(self, request: Any) -> Any:
        known = self._keys.get((request.tenant, request.idempotency_key))
        if known is not None:
            if known[1] != request.fingerprint:
                raise refusal(grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED", "Another body.")
            return job_service_pb2.CreateJobResponse(job=self.history[known[0]][-1], replayed=True)
        job_request = request.request
        job = self.add(
            tenant=request.tenant,
            request=job_request,
            metadata=dict(job_request.metadata),
            image_count=job_request.n,
            queue_position=1,
        )
        self._keys[request.tenant, request.idempotency_key] = (job.id, request.fingerprint)
        return job_service_pb2.CreateJobResponse(job=job)

    async def CreateJobs(self, request: Any, context: Any) -> Any:
        """The jobs of the keys, or new ones; `refusals` of `CreateJobsItem` are the results of the next items."""
        self._begin("CreateJobs", request, context)
        results = []
        for item in request.items:
            single = job_service_pb2.CreateJobRequest(
                tenant=request.tenant,
                idempotency_key=item.idempotency_key,
                request=item.request,
                fingerprint=item.fingerprint,
            )
            try:
                if self.refusals["CreateJobsItem"]:
                    raise self.refusals["CreateJobsItem"].pop(0)
                done = self._create(single)
            except ServiceError as error:
                wrong = job_service_pb2.ItemRefusal(
                    status_code=error.status.value[0],
                    reason=error.reason,
                    message=error.message,
                    field_violations=[
                        job_service_pb2.ItemFieldViolation(field=wrong.field, description=wrong.description)
                        for wrong in error.field_violations
                    ],
                    retry_after_seconds=error.retry_after_seconds,
                )
                results.append(job_service_pb2.CreateJobsResult(refusal=wrong))
            else:
                results.append(job_service_pb2.CreateJobsResult(job=done.job, replayed=done.replayed))
        return job_service_pb2.CreateJobsResponse(results=results)

    async def TakeRequest(self, request: Any, context: Any) -> Any:
        """Always one left."""
        self._begin("TakeRequest", request, context)
        return job_service_pb2.TakeRequestResponse(rate=job_service_pb2.RequestRate(remaining=1, reset_seconds=1))

    async def GetJob(self, request: Any, context: Any) -> Any:
        """The newest version."""
        self._begin("GetJob", request, context)
        return job_service_pb2.GetJobResponse(job=self._find(request))

    async def ListJobs(self, request: Any, context: Any) -> Any:
        """Every job of the tenant."""
        self._begin("ListJobs", request, context)
        jobs = [versions[-1] for versions in self.history.values() if versions[-1].tenant == request.tenant]
        return job_service_pb2.ListJobsResponse(jobs=reversed(jobs), next_page_token=self.next_page_token)

    async def CancelJob(self, request: Any, context: Any) -> Any:
        """Cancel, unless final as something else."""
        self._begin("CancelJob", request, context)
        job = self._find(request)
        if job.status in FINAL and job.status != job_pb2.STATUS_CANCELED:
            raise refusal(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", "The job is final already.")
        if job.status != job_pb2.STATUS_CANCELED:
            job = self.move(job.id, status=job_pb2.STATUS_CANCELED, provider_cancel=job_pb2.PROVIDER_CANCEL_NOT_NEEDED)
        return job_service_pb2.CancelJobResponse(job=job)

    async def RetryJob(self, request: Any, context: Any) -> Any:
        """Put a failed job back."""
        self._begin("RetryJob", request, context)
        job = self._find(request)
        if job.status != job_pb2.STATUS_FAILED:
            raise refusal(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", "Only a failed job.")
        return job_service_pb2.RetryJobResponse(job=self.move(job.id, status=job_pb2.STATUS_QUEUED, retry_count=1))

    async def DeleteJob(self, request: Any, context: Any) -> Any:
        """Forget a final job."""
        self._begin("DeleteJob", request, context)
        job = self._find(request)
        if job.status not in FINAL:
            raise refusal(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", "Only a final job.")
        del self.history[job.id]
        return job_service_pb2.DeleteJobResponse()

    async def ListAttempts(self, request: Any, context: Any) -> Any:
        """The scripted attempts."""
        self._begin("ListAttempts", request, context)
        self._find(request)
        return job_service_pb2.ListAttemptsResponse(attempts=self.attempts)

    async def ListProviders(self, request: Any, context: Any) -> Any:
        """The scripted catalogue."""
        self._begin("ListProviders", request, context)
        return job_service_pb2.ListProvidersResponse(providers=self.providers)

    async def ListFinalEvents(self, request: Any, context: Any) -> Any:
        """Fails: the gateway does not call it."""
        raise AssertionError("the gateway does not call ListFinalEvents")

    async def GetFinalEvents(self, request: Any, context: Any) -> Any:
        """Nothing; the gateway does not ask."""
        raise AssertionError("nobody asks for final events here")

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """What is later, then what comes."""
        self._begin("WatchJob", request, context)
        job = self._find(request)
        await context.send_initial_metadata(())
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._watchers[job.id].append(queue)
        self.watching += 1
        self._changed.set()
        try:
            after = request.after_sequence if request.HasField("after_sequence") else None
            if after is None or after > job.sequence:
                yield job_service_pb2.WatchJobResponse(job=job)
            else:
                for version in self.history[job.id]:
                    if version.sequence > after:
                        yield job_service_pb2.WatchJobResponse(job=_bare(version))
            if job.status in FINAL:
                return
            while (change := await queue.get()) is not None:
                if isinstance(change, job_service_pb2.Progress):
                    yield job_service_pb2.WatchJobResponse(progress=change)
                    continue
                yield job_service_pb2.WatchJobResponse(job=change)
                if change.status in FINAL:
                    return
        finally:
            self._watchers[job.id].remove(queue)
            self.watching -= 1
            self._changed.set()

    def _begin(self, method: str, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.parents.append(dict(context.invocation_metadata()).get("traceparent"))
        if method != "WatchJob":
            remaining = context.time_remaining()
            self.remaining_seconds.append(inf if remaining is None else remaining)
        self._changed.set()
        if self.refusals[method]:
            raise self.refusals[method].pop(0)

    def _find(self, request: Any) -> job_pb2.Job:
        versions = self.history.get(request.job_id)
        if versions is None or versions[-1].tenant != request.tenant:
            raise refusal(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", "There is no such job.")
        return versions[-1]

    def _notify(self, job_id: str, change: Change | None) -> None:
        for queue in self._watchers[job_id]:
            queue.put_nowait(change)


def _bare(job: job_pb2.Job) -> job_pb2.Job:
    bare = job_pb2.Job()
    bare.CopyFrom(job)
    bare.ClearField("request")
    return bare


def failure(
    code: str = "TEMPORARY", reason: str = "PROVIDER_UNAVAILABLE", stage: str = "GENERATING", **more: Any
) -> error_pb2.Failure:
    """Why a job failed."""
    return error_pb2.Failure(
        stage=error_pb2.Stage.Value(f"STAGE_{stage}"),
        code=error_pb2.Code.Value(f"CODE_{code}"),
        reason=error_pb2.Reason.Value(f"REASON_{reason}"),
        message="It was away.",
        retryable=True,
        **more,
    )


@asynccontextmanager
async def serving(fake: FakeJobService, listen: str = "127.0.0.1:0", *, ok: bool = True) -> AsyncIterator[str]:
    """Serve it; yields its address."""
    ready = Readiness()
    ready.set("database", ok)
    largest = 48 * 1024 * 1024
    async with serve(listen, [fake.grpc_service()], ready=ready, max_request_bytes=largest, grace_seconds=0) as port:
        yield f"127.0.0.1:{port}"
