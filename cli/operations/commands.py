"""`calotype log-level` and `calotype drain`: change running processes through their OperationsService."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from calotype.ops.v1 import operations_service_pb2 as ops

from cli.errors import CommandFailed, ExitCode
from cli.operations.processes import (
    ALL,
    CALL_SECONDS,
    CLAIMING,
    SERVED,
    OperatedProcess,
    ProcessResponse,
    call_all,
    exit_code,
    processes_of,
)
from cli.stack.options import data_option
from common import grpc_client
from common.logs import LEVELS

#: Seconds between two looks at a process that drains.
POLL_SECONDS = 0.5
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600}
_NO_GATEWAY = (
    "The gateway has no OperationsService: its level is CALOTYPE_LOG_LEVEL, read when it starts. It logs each request "
    "at info already; debug adds only probes."
)


class Duration(click.ParamType[int]):
    """Seconds, as `90`, `90s`, `10m` or `2h`."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parses a duration."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,5})([smh]?)", str(value), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is no duration, e.g. 90s, 10m or 2h.", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


def _address_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--address",
        "addresses",
        multiple=True,
        metavar="HOST:PORT",
        help=(
            "A process of another installation, once for each; with CALOTYPE_GRPC_TOKEN and, where gRPC has TLS, "
            "CALOTYPE_GRPC_TLS_CERT_FILE, _KEY_FILE and _CA_FILE."
        ),
    )(command)


@click.command("log-level")
@click.argument("service", type=click.Choice([*SERVED, "gateway", ALL]))
@click.argument("level", type=click.Choice(LEVELS))
@click.option("--for", "seconds", type=Duration(), default=0, help="Return to the level before after this time.")
@data_option
@_address_option
def log_level(service: str, level: str, seconds: int, data: Path, addresses: tuple[str, ...]) -> int:
    """Change the log level of SERVICE, or of all, at once.

    It applies to all processes of the service. The level of the gateway is a setting only.
    """
    if service == "gateway":
        raise CommandFailed(_NO_GATEWAY, ExitCode.USAGE)
    processes = processes_of(service, data=data, addresses=addresses, among=SERVED)
    request = ops.SetLogLevelRequest(level=level, seconds=seconds)
    change = call_all(
        processes, service, lambda stub: grpc_client.call(stub.SetLogLevel, request, timeout=CALL_SECONDS)
    )
    responses = asyncio.run(change)
    end = f" for {seconds} s" if seconds else ""
    _report(responses, lambda response: f"{response.message.previous_level} -> {level}{end}")
    return exit_code(responses)


@click.command()
@click.argument("service", type=click.Choice(CLAIMING))
@click.option("--timeout", type=Duration(), default=630, show_default=True, help="How long to wait for held work.")
@data_option
@_address_option
def drain(service: str, timeout: int, data: Path, addresses: tuple[str, ...]) -> int:
    """Stop SERVICE from claiming work, and wait until it holds none.

    Its processes keep running, and claim again only after a restart. Ctrl-C ends the wait, not the drain.
    """
    processes = processes_of(service, data=data, addresses=addresses, among=CLAIMING)
    return asyncio.run(_drain(processes, service, time.monotonic() + timeout))


async def _drain(processes: Sequence[OperatedProcess], service: str, until: float) -> ExitCode:
    request = ops.DrainRequest()

    async def stop_claiming() -> list[ProcessResponse]:
        return await call_all(
            processes, service, lambda stub: grpc_client.call(stub.Drain, request, timeout=CALL_SECONDS)
        )

    responses = await stop_claiming()
    _report(responses, lambda response: f"claims nothing more; holds {_held(response.message)}")
    draining = [response.process for response in responses if response.error is None and response.message.held]
    while draining and time.monotonic() < until:
        await asyncio.sleep(POLL_SECONDS)
        draining = await _still_held(draining, service)
    if draining:
        left = [response for response in await stop_claiming() if response.error or response.message.held]
        _report(left, lambda response: f"still holds {_held(response.message)}")
        return ExitCode.FAILED if left else exit_code(responses)
    if exit_code(responses) is ExitCode.DONE:
        click.echo(f"{service} is drained; restart it to let it claim again", err=True)
    return exit_code(responses)


async def _still_held(processes: Sequence[OperatedProcess], service: str) -> list[OperatedProcess]:
    """Returns the processes that hold work. One that does not respond is asked again later."""
    responses = await call_all(
        processes,
        service,
        lambda stub: grpc_client.call(stub.GetStatus, ops.GetStatusRequest(), timeout=CALL_SECONDS),
    )
    return [response.process for response in responses if response.error is not None or response.message.held]


def _held(response: ops.DrainResponse) -> str:
    if not response.held:
        return "nothing"
    named = ", ".join(response.held_ids)
    return f"{response.held}: {named}" if named else str(response.held)


def _report(responses: Sequence[ProcessResponse], line: Callable[[ProcessResponse], str]) -> None:
    width = max((len(response.process.name) for response in responses), default=0)
    for response in responses:
        error = response.error
        text = line(response) if error is None else f"failed: {error.reason}: {error.message}"
        click.echo(f"{response.process.name:<{width}}  {text}", err=error is not None)
