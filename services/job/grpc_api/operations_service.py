"""OperationsService: what this process offers to those who run it."""

from typing import Any

import calotype
import grpc
from calotype.ops.v1 import operations_service_pb2, operations_service_pb2_grpc

from common.errors import ServiceError
from common.grpc_server import Served
from common.health import Readiness
from common.logs import LEVELS, set_level


class OperationsService(operations_service_pb2_grpc.OperationsServiceServicer):
    """Serves `calotype.ops.v1.OperationsService` for job-service, which claims nothing and so has nothing to drain."""

    def __init__(self, ready: Readiness) -> None:
        self._ready = ready

    def served(self) -> Served:
        """This service, as a server offers it."""
        return Served(
            name="calotype.ops.v1.OperationsService",
            add=operations_service_pb2_grpc.add_OperationsServiceServicer_to_server,
            servicer=self,
        )

    async def GetStatus(
        self, request: operations_service_pb2.GetStatusRequest, context: Any
    ) -> operations_service_pb2.GetStatusResponse:
        """Tell version and readiness."""
        conditions = [
            operations_service_pb2.Condition(name=one.name, ok=one.ok, message=one.message)
            for one in self._ready.report()
        ]
        return operations_service_pb2.GetStatusResponse(
            service="job", version=calotype.__version__, ready=self._ready.ok, conditions=conditions
        )

    async def Drain(
        self, request: operations_service_pb2.DrainRequest, context: Any
    ) -> operations_service_pb2.DrainResponse:
        """Confirm: what this service does, it does when asked."""
        return operations_service_pb2.DrainResponse()

    async def SetLogLevel(
        self, request: operations_service_pb2.SetLogLevelRequest, context: Any
    ) -> operations_service_pb2.SetLogLevelResponse:
        """Change the level of logging."""
        if request.level not in LEVELS:
            raise ServiceError(
                status=grpc.StatusCode.INVALID_ARGUMENT,
                reason="INVALID_INPUT",
                message=f"level: one of {', '.join(LEVELS)}.",
            )
        return operations_service_pb2.SetLogLevelResponse(previous_level=set_level(request.level))
