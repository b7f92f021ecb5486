"""The HTTP server: binds its port before anything else starts, and drains before anything else stops."""

import asyncio
import resource
import socket

from starlette.types import ASGIApp

from common import http_server
from gateway.http.connection import CONNECTION_LIMIT, HttpConnection

#: Seconds that open requests have to finish when the process stops; no call to job-service takes longer.
DRAIN_SECONDS = 15
KEEP_ALIVE_SECONDS = 75
#: Open files besides connections.
OTHER_FILES = 256


def bind(listen: str) -> socket.socket:
    """Returns a socket that listens on `listen`, the setting `http_listen`. Raises `ConfigError` and `StartError`."""
    return http_server.bind(listen, setting="CALOTYPE_HTTP_LISTEN", backlog=CONNECTION_LIMIT)


def _allow_connections() -> None:
    """Raises the limit of open files to the number of connections; the usual default is a fourth of that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTION_LIMIT + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


async def serve(
    app: ASGIApp,
    opened: socket.socket,
    *,
    stop: asyncio.Event,
    drain_seconds: int = DRAIN_SECONDS,
    protocol: type[HttpConnection] = HttpConnection,
) -> None:
    """Serves until `stop` is set or the task is canceled; returns after open requests are done or `drain_seconds`."""
    _allow_connections()
    await http_server.serve(
        app,
        opened,
        stop=stop,
        protocol=protocol,
        drain_seconds=drain_seconds,
        keep_alive_seconds=KEEP_ALIVE_SECONDS,
        backlog=CONNECTION_LIMIT,
    )
