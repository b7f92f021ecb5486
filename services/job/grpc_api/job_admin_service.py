"""JobAdminService: lists of jobs of any tenant, and pauses, for operators."""

from typing import Any

from calotype.error_reasons import Reason
from calotype.ops.v1 import job_admin_service_pb2, job_admin_service_pb2_grpc

from common.grpc_server import GrpcService
from common.postgres import Database
from services.job.application import job_search, pauses
from services.job.domain.jobs import Snapshot
from services.job.domain.pauses import Pause, PauseKind
from services.job.domain.refusals import Refusal
from services.job.grpc_api.status_codes import translate_errors
from services.job.loops.outbox_relay import OutboxRelay
from services.job.messages import from_protobuf, to_protobuf
from services.job.messages.enums import member, number
from services.job.store import pauses as pause_store
from services.job.store.pools import Pool

#: Wake-ups after a pause, each for one generator; the others poll.
RESUME_WAKE_UPS = 16


class JobAdminService(job_admin_service_pb2_grpc.JobAdminServiceServicer):
    """Serves `calotype.ops.v1.JobAdminService`."""

    def __init__(self, database: Database, relay: OutboxRelay, *, public_base_url: str) -> None:
        self._database = database
        self._relay = relay
        self._public_base_url = public_base_url

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.ops.v1.JobAdminService",
            add=job_admin_service_pb2_grpc.add_JobAdminServiceServicer_to_server,
            servicer=self,
        )

    async def ListAnyJobs(
        self, request: job_admin_service_pb2.ListAnyJobsRequest, context: Any
    ) -> job_admin_service_pb2.ListAnyJobsResponse:
        """Returns a page of jobs of all tenants, newest first."""

        async def work() -> tuple[list[Snapshot], str]:
            wanted = from_protobuf.job_filter(request.filter)
            return await self._database.run(
                lambda connection: job_search.list_any_jobs(
                    connection, wanted, page_size=request.page_size, page_token=request.page_token
                ),
                pool=Pool.LISTS,
            )

        found, token = await translate_errors(work)
        return job_admin_service_pb2.ListAnyJobsResponse(
            jobs=[
                job_admin_service_pb2.AnyJob(
                    tenant=snapshot.job.tenant, job=to_protobuf.job(snapshot, public_base_url=self._public_base_url)
                )
                for snapshot in found
            ],
            next_page_token=token,
        )

    async def Pause(
        self, request: job_admin_service_pb2.PauseRequest, context: Any
    ) -> job_admin_service_pb2.PauseResponse:
        """Pauses a provider, a tenant or the queue."""

        async def work() -> Pause:
            kind = _kind(request.kind)
            return await self._database.run(
                lambda connection: pauses.pause(
                    connection, kind, request.name, note=request.note, by=request.principal
                ),
                pool=Pool.WRITES,
            )

        return job_admin_service_pb2.PauseResponse(pause=_pause(await translate_errors(work)))

    async def Resume(
        self, request: job_admin_service_pb2.ResumeRequest, context: Any
    ) -> job_admin_service_pb2.ResumeResponse:
        """Ends a pause, and wakes generators for the jobs that waited."""

        async def work() -> bool:
            kind = _kind(request.kind)
            return await self._database.run(
                lambda connection: pauses.resume(connection, kind, request.name), pool=Pool.WRITES
            )

        resumed = await translate_errors(work)
        if resumed:
            for _ in range(RESUME_WAKE_UPS):
                await self._relay.wake_generators()
        return job_admin_service_pb2.ResumeResponse(resumed=resumed)

    async def ListPauses(
        self, request: job_admin_service_pb2.ListPausesRequest, context: Any
    ) -> job_admin_service_pb2.ListPausesResponse:
        """Returns the pauses in effect."""
        found = await translate_errors(lambda: self._database.run(pause_store.read, pool=Pool.LISTS))
        return job_admin_service_pb2.ListPausesResponse(pauses=[_pause(pause) for pause in found.active()])


def _kind(value: int) -> PauseKind:
    kind = member(PauseKind, job_admin_service_pb2.PauseKind, "PAUSE_KIND", value)
    if kind is None:
        raise Refusal(Reason.INVALID_INPUT, "kind: provider, tenant or queue.")
    return kind


def _pause(pause: Pause) -> job_admin_service_pb2.PauseInfo:
    return job_admin_service_pb2.PauseInfo(
        id=pause.id,
        kind=number(job_admin_service_pb2.PauseKind, "PAUSE_KIND", pause.kind),
        name=pause.name,
        note=pause.note,
        paused_by=pause.paused_by,
        paused_at=to_protobuf.timestamp(pause.paused_at),
    )
