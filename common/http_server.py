"""HTTP servers of a process: a socket that is bound at the start, and uvicorn on it until the process stops."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.config import ConfigError
from common.lifecycle import StartError
from common.logs import event

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LOG = logging.getLogger(__name__)
#: Connections that the operating system holds until they are accepted, by default.
BACKLOG = 128


def bind(listen: str, *, setting: str, backlog: int = BACKLOG) -> socket.socket:
    """Returns a listening socket on `listen`, which is HOST:PORT; errors name `setting` as its source.

    Raises `ConfigError` if it is not an address, `StartError` if the address cannot be used.
    """
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ConfigError(f"{setting}: {listen!r} is not HOST:PORT. Write it like 127.0.0.1:8080.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"Cannot listen on {listen} ({setting}): {error.strerror}.") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        # Listens now, not when the server starts: until then another process could bind the same port.
        opened.listen(backlog)
    except OSError as error:
        opened.close()
        reason = f"{error.strerror}; choose another port."
        raise StartError(f"Cannot listen on {listen} ({setting}): {reason}") from error
    opened.setblocking(False)
    return opened


def log_listening(name: str, opened: socket.socket) -> None:
    """Logs the address of a socket; for port 0 it is known only now."""
    host, port, *_ = opened.getsockname()
    event(_LOG, logging.INFO, name, host=host, port=port)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the process, which sets `stop`."""
        yield


async def serve(
    app: "ASGIApp",
    opened: socket.socket,
    *,
    stop: asyncio.Event,
    protocol: type[H11Protocol],
    drain_seconds: int,
    keep_alive_seconds: int,
    backlog: int = BACKLOG,
) -> None:
    """Serves until `stop` is set or the task is canceled; returns after open requests are done or `drain_seconds`."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Proxy headers are read only where they matter: for links, and to recognise local requests.
        proxy_headers=False,
        backlog=backlog,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=drain_seconds,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[opened]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.should_exit = True
        await serving
