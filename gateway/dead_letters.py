"""Dead letters, as the gateway asks for them."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from calotype.ops.v1 import dead_letter_service_pb2 as dead
from calotype.ops.v1 import dead_letter_service_pb2_grpc

from common import grpc_client
from common.errors import ServiceError
from gateway.problems import from_service_error

T = TypeVar("T")
#: A page is as many questions to the broker as it has letters.
CALL_SECONDS = 1.8


class DeadLetterClient:
    """The calls of `calotype.ops.v1.DeadLetterService`; all raise `Problem`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = dead_letter_service_pb2_grpc.DeadLetterServiceStub(channel)

    async def page(self, *, page_size: int, page_token: str) -> dead.ListDeadLettersResponse:
        """A page, oldest first."""
        asked = dead.ListDeadLettersRequest(page_size=page_size, page_token=page_token)
        return await _ask(self._stub.ListDeadLetters, asked)

    async def replay(self, letter_id: str) -> None:
        """Publish one again; asked once, as a second answer would say that there is none."""
        await _ask(self._stub.ReplayDeadLetter, dead.ReplayDeadLetterRequest(id=letter_id))


async def _ask(method: Callable[..., Awaitable[T]], request: Any) -> T:
    try:
        return await grpc_client.call(method, request, timeout=CALL_SECONDS)
    except ServiceError as error:
        raise from_service_error(error) from error
