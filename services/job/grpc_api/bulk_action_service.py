"""BulkActionService: cancels or retries every job of a filter, for operators."""

import logging
from typing import Any

from calotype.ops.v1 import bulk_action_service_pb2 as bulk
from calotype.ops.v1 import bulk_action_service_pb2_grpc

from common.grpc_server import GrpcService
from common.logs import event
from common.postgres import Database
from services.job.application import bulk_actions
from services.job.domain.bulk_actions import BulkAction, MatchCount
from services.job.grpc_api.status_codes import translate_errors
from services.job.grpc_api.validation import check_key
from services.job.loops.bulk_actions import BulkActionRunner
from services.job.messages import from_protobuf, to_protobuf
from services.job.store.pools import Pool

_LOG = logging.getLogger(__name__)


class BulkActionService(bulk_action_service_pb2_grpc.BulkActionServiceServicer):
    """Serves `calotype.ops.v1.BulkActionService`."""

    def __init__(self, database: Database, runner: BulkActionRunner) -> None:
        self._database = database
        self._runner = runner

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.ops.v1.BulkActionService",
            add=bulk_action_service_pb2_grpc.add_BulkActionServiceServicer_to_server,
            servicer=self,
        )

    async def PreviewBulkAction(
        self, request: bulk.PreviewBulkActionRequest, context: Any
    ) -> bulk.PreviewBulkActionResponse:
        """Counts the jobs of a bulk action."""

        async def work() -> MatchCount:
            wanted = from_protobuf.bulk_action_request(request.request)
            return await self._database.run(
                lambda connection: bulk_actions.preview(connection, wanted), pool=Pool.LISTS
            )

        count = await translate_errors(work)
        return bulk.PreviewBulkActionResponse(
            matched=count.matched, is_matched_exact=count.is_exact, job_ids=count.sample
        )

    async def CreateBulkAction(
        self, request: bulk.CreateBulkActionRequest, context: Any
    ) -> bulk.CreateBulkActionResponse:
        """Starts a bulk action."""
        check_key(request.idempotency_key)

        async def work() -> bulk_actions.CreateResult:
            wanted = from_protobuf.bulk_action_request(request.request)
            return await self._database.run(
                lambda connection: bulk_actions.create(
                    connection, wanted, by=request.principal, idempotency_key=request.idempotency_key
                ),
                pool=Pool.LISTS,
            )

        created = await translate_errors(work)
        if not created.replayed:
            action = created.bulk_action
            event(
                _LOG,
                logging.INFO,
                "bulk_action.started",
                bulk_action_id=action.id,
                action=action.request.kind,
                matched=action.matched,
                requested_by=action.requested_by,
            )
            self._runner.wake()
        return bulk.CreateBulkActionResponse(
            bulk_action=to_protobuf.bulk_action(created.bulk_action), replayed=created.replayed
        )

    async def GetBulkAction(self, request: bulk.GetBulkActionRequest, context: Any) -> bulk.GetBulkActionResponse:
        """Returns a bulk action with its progress."""
        found = await self._run(lambda connection: bulk_actions.get(connection, request.id), pool=Pool.READS)
        return bulk.GetBulkActionResponse(bulk_action=to_protobuf.bulk_action(found))

    async def ListBulkActions(self, request: bulk.ListBulkActionsRequest, context: Any) -> bulk.ListBulkActionsResponse:
        """Returns the newest bulk actions."""
        found = await translate_errors(lambda: self._database.run(bulk_actions.list_newest, pool=Pool.LISTS))
        return bulk.ListBulkActionsResponse(bulk_actions=[to_protobuf.bulk_action(action) for action in found])

    async def CancelBulkAction(
        self, request: bulk.CancelBulkActionRequest, context: Any
    ) -> bulk.CancelBulkActionResponse:
        """Stops a bulk action."""
        found = await self._run(lambda connection: bulk_actions.stop(connection, request.id), pool=Pool.WRITES)
        return bulk.CancelBulkActionResponse(bulk_action=to_protobuf.bulk_action(found))

    async def _run(self, work: Any, *, pool: Pool) -> BulkAction:
        found: BulkAction = await translate_errors(lambda: self._database.run(work, pool=pool))
        return found
