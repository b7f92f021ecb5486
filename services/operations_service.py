"""OperationsService, which every service offers to operators: status, drain, log level."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import calotype
import grpc
from calotype.error_reasons import Reason
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc

from common.errors import ServiceError
from common.grpc_server import GrpcService
from common.health import Readiness
from common.logs import LEVELS, set_level


class Work(Protocol):
    """Work that a process claims."""

    #: Whether nothing more is claimed.
    draining: bool

    @property
    def busy(self) -> int:
        """Number of filled slots."""


class OperationsService(operations_service_pb2_grpc.OperationsServiceServicer):
    """Serves `calotype.ops.v1.OperationsService`.

    `work` stops claiming when the service is drained; None for a service that claims nothing. `counters` returns the
    numbers that the status shows besides `slots_busy`.
    """

    def __init__(
        self,
        service: str,
        ready: Readiness,
        *,
        work: Work | None = None,
        counters: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._service = service
        self._ready = ready
        self._work = work
        self._counters = counters

    def grpc_service(self) -> GrpcService:
        """Returns this service for `common.grpc_server.serve`."""
        return GrpcService(
            name="calotype.ops.v1.OperationsService",
            add=operations_service_pb2_grpc.add_OperationsServiceServicer_to_server,
            servicer=self,
        )

    async def GetStatus(self, request: ops.GetStatusRequest, context: Any) -> ops.GetStatusResponse:
        """Returns version, readiness and counters."""
        slots = {} if self._work is None else {"slots_busy": self._work.busy}
        return ops.GetStatusResponse(
            service=self._service,
            version=calotype.__version__,
            ready=self._ready.ok,
            conditions=[
                ops.Condition(name=condition.name, ok=condition.ok, message=condition.message)
                for condition in self._ready.report()
            ],
            draining=self._work is not None and self._work.draining,
            counters={**slots, **self._counters()},
        )

    async def Drain(self, request: ops.DrainRequest, context: Any) -> ops.DrainResponse:
        """Stops claiming work; work already claimed goes on."""
        if self._work is not None:
            self._work.draining = True
        return ops.DrainResponse()

    async def SetLogLevel(self, request: ops.SetLogLevelRequest, context: Any) -> ops.SetLogLevelResponse:
        """Changes the log level; returns the previous one. Raises `ServiceError` INVALID_INPUT."""
        if request.level not in LEVELS:
            raise ServiceError(
                status=grpc.StatusCode.INVALID_ARGUMENT,
                reason=Reason.INVALID_INPUT,
                message=f"level: one of {', '.join(LEVELS)}.",
            )
        return ops.SetLogLevelResponse(previous_level=set_level(request.level))
