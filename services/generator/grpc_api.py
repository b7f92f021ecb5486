"""OperationsService: what this process offers to those who run it."""

from typing import Any

import calotype
import grpc
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc

from common.errors import ServiceError
from common.grpc_server import Served
from common.health import Readiness
from common.leased_work import LeasedWork
from common.logs import LEVELS, set_level
from common.memory import Memory
from services.generator.domain.jobs import Job


class OperationsService(operations_service_pb2_grpc.OperationsServiceServicer):
    """Serves `calotype.ops.v1.OperationsService` for generator-service."""

    def __init__(self, ready: Readiness, jobs: LeasedWork[Job], memory: Memory) -> None:
        self._ready = ready
        self._jobs = jobs
        self._memory = memory

    def served(self) -> Served:
        """This service, as a server offers it."""
        return Served(
            name="calotype.ops.v1.OperationsService",
            add=operations_service_pb2_grpc.add_OperationsServiceServicer_to_server,
            servicer=self,
        )

    async def GetStatus(self, request: ops.GetStatusRequest, context: Any) -> ops.GetStatusResponse:
        """Tell version, readiness, slots, and bytes of answers and images in memory."""
        conditions = [ops.Condition(name=one.name, ok=one.ok, message=one.message) for one in self._ready.report()]
        return ops.GetStatusResponse(
            service="generator",
            version=calotype.__version__,
            ready=self._ready.ok,
            conditions=conditions,
            draining=self._jobs.draining,
            counters={"slots_busy": self._jobs.busy, "bytes_held": self._memory.held},
        )

    async def Drain(self, request: ops.DrainRequest, context: Any) -> ops.DrainResponse:
        """Claim no more."""
        self._jobs.draining = True
        return ops.DrainResponse()

    async def SetLogLevel(self, request: ops.SetLogLevelRequest, context: Any) -> ops.SetLogLevelResponse:
        """Change the level of logging."""
        if request.level not in LEVELS:
            raise ServiceError(
                status=grpc.StatusCode.INVALID_ARGUMENT,
                reason="INVALID_INPUT",
                message=f"level: one of {', '.join(LEVELS)}.",
            )
        return ops.SetLogLevelResponse(previous_level=set_level(request.level))
