"""The notifier as a process, and a receiver that keeps what it gets."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cli.stack.child import Child, Program
from tests.support.patience import PATIENCE
from tests.support.servers.tcp_servers import tcp_server

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request that a receiver got."""

    #: First line.
    line: str
    #: Headers, by names in lower case.
    headers: Mapping[str, str]
    #: Body.
    body: bytes


@dataclass
class Receiver:
    """Answers each request with status 204."""

    url: str = ""
    received: "asyncio.Queue[Received]" = field(default_factory=asyncio.Queue)

    async def next(self) -> Received:
        """Wait for the next request."""
        return await asyncio.wait_for(self.received.get(), PATIENCE)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it."""
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (entry.partition(": ") for entry in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.put_nowait(Received(line=line, headers=headers, body=body))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a port of 127.0.0.1."""
    found = Receiver()
    async with tcp_server(found.serve) as port:
        found.url = f"http://127.0.0.1:{port}/hooks"
        yield found


def notifier(folder: Path, settings: dict[str, str], *, number: int = 1) -> Child:
    """A process of notifier-service; `settings` without their prefix."""
    own = {f"CALOTYPE_{name}": value for name, value in settings.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    program = Program(
        name="notifier",
        command=(sys.executable, "-m", "services.notifier"),
        environment=inherited | own | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        log=folder / f"notifier-{number}.log",
        is_ready=lambda: True,
    )
    return Child(program)
