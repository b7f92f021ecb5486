"""The HTTP server: bound before anything else starts, drained before anything else stops."""

import asyncio
import logging
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from common.config import ConfigError
from common.lifecycle import StartError
from common.logs import event
from gateway.http.connection import MOST_CONNECTIONS, HttpConnection

_LOG = logging.getLogger(__name__)
#: Seconds that open requests have when the process is told to stop; no call of theirs takes longer.
DRAIN_SECONDS = 15
KEEP_ALIVE_SECONDS = 75
#: Files that are open beside connections.
OTHER_FILES = 256


def bind(listen: str, *, setting: str) -> socket.socket:
    """A socket on `host:port`, as the setting says that errors name.

    Raises `ConfigError` for what is no address, `StartError` for one that is taken.
    """
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ConfigError(f"{setting}: {listen!r} is not HOST:PORT, such as 127.0.0.1:8080.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"Cannot listen on {listen} ({setting}): {error.strerror}.") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        # Listening now, not when the server starts: until then another process could still bind the same port.
        opened.listen(MOST_CONNECTIONS)
    except OSError as error:
        opened.close()
        reason = f"{error.strerror}; choose another port."
        raise StartError(f"Cannot listen on {listen} ({setting}): {reason}") from error
    opened.setblocking(False)
    return opened


def log_listening(name: str, opened: socket.socket) -> None:
    """Log where a socket listens, which for port 0 nobody knows before."""
    host, port, *_ = opened.getsockname()
    event(_LOG, logging.INFO, name, host=host, port=port)


def _allow_connections() -> None:
    """Let the process have as many files open as it takes connections; systems begin with a fourth of that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process, which sets `stop`."""
        yield


async def serve(
    app: ASGIApp,
    opened: socket.socket,
    *,
    stop: asyncio.Event,
    drain_seconds: int = DRAIN_SECONDS,
    protocol: type[HttpConnection] = HttpConnection,
) -> None:
    """Serve until `stop` is set, or the task is canceled, and open requests are answered."""
    _allow_connections()
    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # What a proxy says of a client is looked at where it matters.
        proxy_headers=False,
        backlog=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
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
