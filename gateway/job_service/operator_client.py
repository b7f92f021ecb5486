"""What the gateway asks job-service for on behalf of operators."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
from calotype.ops.v1 import dead_letter_service_pb2 as dead
from calotype.ops.v1 import (
    dead_letter_service_pb2_grpc,
    queue_service_pb2,
    queue_service_pb2_grpc,
    tenant_service_pb2,
    tenant_service_pb2_grpc,
)

from common import grpc_client
from common.errors import ServiceError
from gateway.problems.problem import from_service_error

T = TypeVar("T")
#: A page of dead letters is as many questions to the broker as it has letters.
CALL_SECONDS = 1.8


class OperatorClient:
    """The calls of the services for operators in `calotype.ops.v1`; all raise `Problem`."""

    def __init__(self, channel: grpc.aio.Channel, *, call_seconds: float = CALL_SECONDS) -> None:
        self._call_seconds = call_seconds
        self._dead = dead_letter_service_pb2_grpc.DeadLetterServiceStub(channel)
        self._queue = queue_service_pb2_grpc.QueueServiceStub(channel)
        self._tenants = tenant_service_pb2_grpc.TenantServiceStub(channel)

    async def dead_letters(self, *, page_size: int, page_token: str, parked: bool) -> dead.ListDeadLettersResponse:
        """A page of them or, in their place, of what is parked; oldest first."""
        asked = dead.ListDeadLettersRequest(page_size=page_size, page_token=page_token, parked=parked)
        return await self._ask(self._dead.ListDeadLetters, asked)

    async def replay(self, letter_id: str, *, key: str) -> bool:
        """Publish one again; whether the key, if there is one, had done so. Asked once: a second answer may differ."""
        asked = dead.ReplayDeadLetterRequest(id=letter_id, idempotency_key=key)
        return (await self._ask(self._dead.ReplayDeadLetter, asked)).replayed

    async def queue(self) -> queue_service_pb2.GetQueueResponse:
        """What is under way."""
        return await self._ask(self._queue.GetQueue, queue_service_pb2.GetQueueRequest())

    async def provider_use(self) -> list[queue_service_pb2.ProviderUse]:
        """The catalogue with what is in use of it."""
        answer = await self._ask(self._queue.ListProviderUse, queue_service_pb2.ListProviderUseRequest())
        return [*answer.providers]

    async def job(self, job_id: str) -> queue_service_pb2.GetAnyJobResponse:
        """A job of any tenant, with what vendors said of it."""
        return await self._ask(self._queue.GetAnyJob, queue_service_pb2.GetAnyJobRequest(job_id=job_id))

    async def set_tenant_limits(self, tenants: Sequence[tenant_service_pb2.TenantLimits]) -> None:
        """Replace what is known of these tenants, at most 1,000; a second time changes nothing."""
        asked = tenant_service_pb2.SetTenantLimitsRequest(tenants=tenants)
        await self._ask(self._tenants.SetTenantLimits, asked)

    async def spend(self, *, page_size: int, page_token: str) -> tenant_service_pb2.ListSpendResponse:
        """A page of tenants with a budget, and what they have spent of it."""
        asked = tenant_service_pb2.ListSpendRequest(page_size=page_size, page_token=page_token)
        return await self._ask(self._tenants.ListSpend, asked)

    async def _ask(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        try:
            return await grpc_client.call(method, request, timeout=self._call_seconds)
        except ServiceError as error:
            raise from_service_error(error) from error
