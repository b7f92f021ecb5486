"""TCP servers of tests and connections that they open: nothing of them outlives the `async with`."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

#: Turns of the loop in which a connection that was accepted just before the end still gets its task.
LAST_TURNS = 10
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp_server(
    serve: Serve, *, limit: int = 2**16, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port of a server that runs `serve` for each connection, after its TLS handshake, and closes it afterwards.

    At the end calls of `serve` that have not returned are canceled, and open connections are reset. What `serve` raised
    is raised then; not the errors that a client brings about by going. Raises `OSError` for a host that this machine
    has not.
    """
    tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
    failures: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        del tasks[task]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OSError | EOFError):
            failures.append(error)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve_and_close(serve, reader, writer))
        tasks[task] = writer
        task.add_done_callback(ended)

    server = await asyncio.start_server(accept, host, 0, limit=limit, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for _ in range(LAST_TURNS):
            running = dict(tasks)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            # A task that was canceled before its first step has closed nothing.
            for writer in running.values():
                await _end(writer)
            await asyncio.sleep(0)
        await server.wait_closed()
    if failures:
        raise BaseExceptionGroup("a server of the test failed", failures)


@asynccontextmanager
async def connection(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is closed at the end. Raises `OSError`."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        await _end(writer)


async def _serve_and_close(serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await serve(reader, writer)
        writer.close()
        await _closed(writer)
    finally:
        await _end(writer)


async def _end(writer: asyncio.StreamWriter) -> None:
    # Aborting a transport that is closed fails. Closed, asyncio's has a socket without a number, and uvloop's has none.
    socket = writer.get_extra_info("socket")
    if socket is not None and socket.fileno() != -1:
        writer.transport.abort()
    await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        # Shielded: canceling the wait itself would leave nothing that could be waited for again.
        await asyncio.shield(writer.wait_closed())
