"""OperationsService, which every service offers to operators: status, drain, log level."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import calotype
import grpc
from calotype.error_reasons import Reason
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc

from common.errors import ServiceError
from common.grpc_server import GrpcService
from common.health import Readiness
from common.logs import LEVELS, current_level, event, set_level

_LOG = logging.getLogger(__name__)
#: Longest time in seconds for which a level may be set; one without a time stays.
MAX_LEVEL_SECONDS = 86_400
#: Ids that a drain returns.
MAX_HELD_IDS = 100


class Work(Protocol):
    """Work that a process claims."""

    #: Whether nothing more is claimed.
    draining: bool

    @property
    def busy(self) -> int:
        """Number of filled slots."""

    def held_ids(self) -> Sequence[str]:
        """Returns the ids of the jobs or deliveries that it holds."""


class OperationsService(operations_service_pb2_grpc.OperationsServiceServicer):
    """Serves `calotype.ops.v1.OperationsService`.

    `work` stops claiming when the service is drained; empty for a service that claims nothing. `counters` returns the
    numbers that the status shows besides `slots_busy`, the filled slots of the first of `work`.
    """

    def __init__(
        self,
        service: str,
        ready: Readiness,
        *,
        work: Sequence[Work] = (),
        counters: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._service = service
        self._ready = ready
        self._work = work
        self._counters = counters
        self._lasting_level: str | None = None
        self._restoring: asyncio.TimerHandle | None = None

    def grpc_service(self) -> GrpcService:
        """Returns this service for `common.grpc_server.serve`."""
        return GrpcService(
            name="calotype.ops.v1.OperationsService",
            add=operations_service_pb2_grpc.add_OperationsServiceServicer_to_server,
            servicer=self,
        )

    async def GetStatus(self, request: ops.GetStatusRequest, context: Any) -> ops.GetStatusResponse:
        """Returns version, readiness and counters."""
        slots = {"slots_busy": self._work[0].busy} if self._work else {}
        return ops.GetStatusResponse(
            service=self._service,
            version=calotype.__version__,
            ready=self._ready.ok,
            conditions=[
                ops.Condition(name=condition.name, ok=condition.ok, message=condition.message)
                for condition in self._ready.report()
            ],
            draining=any(work.draining for work in self._work),
            counters={**slots, **self._counters()},
            log_level=current_level(),
            log_level_seconds=self._seconds_left(),
            held=self._held(),
        )

    async def Drain(self, request: ops.DrainRequest, context: Any) -> ops.DrainResponse:
        """Stops claiming work; work already claimed goes on, and is named in the response."""
        if self._work and not self._work[0].draining:
            event(_LOG, logging.WARNING, "process.drained", held=self._held())
        for work in self._work:
            work.draining = True
        held = [held_id for work in self._work for held_id in work.held_ids()]
        return ops.DrainResponse(held=self._held(), held_ids=held[:MAX_HELD_IDS])

    async def SetLogLevel(self, request: ops.SetLogLevelRequest, context: Any) -> ops.SetLogLevelResponse:
        """Changes the log level; returns the previous one. Raises `ServiceError` INVALID_INPUT."""
        if request.level not in LEVELS:
            raise _invalid(f"level: one of {', '.join(LEVELS)}.")
        if not 0 <= request.seconds <= MAX_LEVEL_SECONDS:
            raise _invalid(f"seconds: 0 to {MAX_LEVEL_SECONDS:,}.")
        lasting = self._lasting_level or current_level()
        if self._restoring is not None:
            self._restoring.cancel()
            self._restoring = None
        self._lasting_level = lasting if request.seconds else None
        previous = set_level(request.level)
        if request.seconds:
            self._restoring = asyncio.get_running_loop().call_later(request.seconds, self._restore)
        changed = {"from": previous, "to": request.level, "seconds": request.seconds or None}
        event(_LOG, logging.ERROR if request.level == "error" else logging.WARNING, "log_level.changed", **changed)
        return ops.SetLogLevelResponse(previous_level=previous)

    def _held(self) -> int:
        return sum(work.busy for work in self._work)

    def _restore(self) -> None:
        assert self._lasting_level is not None
        changed = {"from": set_level(self._lasting_level), "to": self._lasting_level}
        self._restoring = self._lasting_level = None
        event(_LOG, logging.WARNING, "log_level.restored", **changed)

    def _seconds_left(self) -> float:
        if self._restoring is None:
            return 0.0
        return max(self._restoring.when() - asyncio.get_running_loop().time(), 0.001)


def _invalid(message: str) -> ServiceError:
    return ServiceError(status=grpc.StatusCode.INVALID_ARGUMENT, reason=Reason.INVALID_INPUT, message=message)
