"""JobAdminService: lists of jobs of any tenant, for operators."""

from typing import Any

from calotype.ops.v1 import job_admin_service_pb2, job_admin_service_pb2_grpc

from common.grpc_server import GrpcService
from common.postgres import Database
from services.job.application import job_search
from services.job.domain.jobs import Snapshot
from services.job.grpc_api.status_codes import translate_errors
from services.job.messages import from_protobuf, to_protobuf
from services.job.store.pools import Pool


class JobAdminService(job_admin_service_pb2_grpc.JobAdminServiceServicer):
    """Serves `calotype.ops.v1.JobAdminService`."""

    def __init__(self, database: Database, *, public_base_url: str) -> None:
        self._database = database
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
