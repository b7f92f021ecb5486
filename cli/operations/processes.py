"""Processes that an operator's command is about, and calls of their OperationsService."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc

from cli import environment
from cli.errors import CommandFailed, ExitCode
from cli.stack.services import replica_name
from cli.stack.state import require_state
from common import grpc_client
from common.config import ConfigError
from common.errors import ServiceError
from common.grpc_client import ClientSettings, is_unavailable

T = TypeVar("T")
#: Seconds of one call.
CALL_SECONDS = 5.0
#: Services that have OperationsService, and those of them that claim work.
SERVED, CLAIMING = ("job", "generator", "uploader", "notifier"), ("generator", "uploader", "notifier")
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class OperatedProcess:
    """A process with OperationsService."""

    #: For messages, such as `generator-2`.
    name: str
    #: `host:port`.
    address: str
    #: How to reach it: the operator's token, and TLS.
    settings: ClientSettings


@dataclass(frozen=True, kw_only=True)
class ProcessResponse:
    """How one process answered a call; one of message and error is None."""

    #: The process.
    process: OperatedProcess
    #: Response of the method.
    message: Any = None
    #: Why there is none.
    error: ServiceError | None = None


def processes_of(service: str, *, data: Path, addresses: Sequence[str], among: Sequence[str]) -> list[OperatedProcess]:
    """Returns the processes of a service, or of `ALL` services `among`: those at the addresses, else of the stack.

    With addresses, token and TLS are those of the environment. Raises `CommandFailed`.
    """
    if addresses:
        settings = environment.read(ClientSettings)
        return [OperatedProcess(name=address, address=address, settings=settings) for address in addresses]
    state = require_state(data)
    settings = ClientSettings(grpc_token=state.grpc_token)
    return [
        OperatedProcess(name=replica_name(name, number), address=address, settings=settings)
        for name, replicas in state.operations.items()
        for number, address in enumerate(replicas, start=1)
        if name in among and service in (name, ALL)
    ]


async def call_all(
    processes: Sequence[OperatedProcess], service: str, call: Callable[[Any], Awaitable[Any]]
) -> list[ProcessResponse]:
    """Calls each process at once, unless it is one of another service; `call` gets the stub."""
    return list(await asyncio.gather(*(_call(process, service, call) for process in processes)))


async def _call(process: OperatedProcess, service: str, call: Callable[[Any], Awaitable[Any]]) -> ProcessResponse:
    try:
        async with _stub(process) as stub:
            status = await grpc_client.call(stub.GetStatus, ops.GetStatusRequest(), timeout=CALL_SECONDS)
            if service not in (status.service, ALL):
                message = f"At {process.address} is {status.service}, not {service}; nothing was done there."
                raise CommandFailed(message, ExitCode.USAGE)
            return ProcessResponse(process=process, message=await call(stub))
    except ServiceError as error:
        return ProcessResponse(process=process, error=error)
    except ConfigError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error


@asynccontextmanager
async def _stub(process: OperatedProcess) -> AsyncIterator["operations_service_pb2_grpc.OperationsServiceAsyncStub"]:
    async with grpc_client.channel(process.address, settings=process.settings) as channel:
        yield operations_service_pb2_grpc.OperationsServiceStub(channel)


def exit_code(responses: Sequence[ProcessResponse]) -> ExitCode:
    """Returns the exit code of a command: that of the first process that did not do what it should."""
    for error in (response.error for response in responses):
        if error is not None:
            return ExitCode.NOT_REACHABLE if is_unavailable(error) else ExitCode.REFUSED
    return ExitCode.DONE
