"""A ComfyUI server: its queue and history by HTTP as a transport, its messages by a real websocket."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.support.providers.http_transport import HandlerTransport

# It writes down what it is sent, the key among it; what the client writes down is looked at by tests.
_SILENT = logging.getLogger(f"{__name__}.wire")
_SILENT.disabled = True
IMAGES = {"9": {"images": [{"filename": "a.png", "type": "output"}]}}
Play = Callable[[ServerConnection], Awaitable[None]]


class ComfyUIServer:
    """Has one prompt, which is in the queue until `ended` is set.

    `play` runs on each websocket. `refusal` is the response to a handshake instead of a websocket.
    """

    def __init__(self, play: Play) -> None:
        self.url = ""
        self.play = play
        self.refusal: tuple[HTTPStatus, dict[str, str]] | None = None
        self.prompt_id = "p1"
        self.ended = asyncio.Event()
        self.submitted: list[dict[str, Any]] = []
        self.posted: list[str] = []
        self.handshakes: list[Request] = []
        self.close_codes: list[int | None] = []

    @property
    def clients(self) -> list[str]:
        """Client ids of all websocket handshakes."""
        return [parse_qs(urlsplit(handshake.path).query)["clientId"][0] for handshake in self.handshakes]

    @property
    def transport(self) -> HandlerTransport:
        """The way to it by HTTP."""
        return HandlerTransport(self._respond)

    def message(self, kind: str, **fields: Any) -> str:
        """A message about its prompt."""
        return json.dumps({"type": kind, "data": {"prompt_id": self.prompt_id} | fields})

    async def serve(self, connection: ServerConnection) -> None:
        """One websocket."""
        try:
            await self.play(connection)
        finally:
            await connection.wait_closed()
            self.close_codes.append(connection.close_code)

    def on_handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        """A handshake."""
        self.handshakes.append(request)
        if self.refusal is None:
            return None
        status, headers = self.refusal
        response = connection.respond(status, "no\n")
        response.headers.update(headers)
        self.ended.set()
        return response

    def _respond(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/prompt":
            self.submitted.append(json.loads(request.content))
            return httpx.Response(200, json={"prompt_id": self.prompt_id})
        if request.method == "POST":
            self.posted.append(path)
            return httpx.Response(200, json={"cancelled": not self.ended.is_set()})
        if path == "/view":
            return httpx.Response(200, content=b"a picture")
        if path.startswith("/history/"):
            ended = {self.prompt_id: {"outputs": IMAGES, "status": {"status_str": "success", "completed": True}}}
            return httpx.Response(200, json=ended if self.ended.is_set() else {})
        running = [] if self.ended.is_set() else [[1, self.prompt_id, {}]]
        return httpx.Response(200, json={"queue_running": running, "queue_pending": []})


@asynccontextmanager
async def comfyui_server(play: Play, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[ComfyUIServer]:
    """Listen on a free port."""
    server = ComfyUIServer(play)
    async with serve(
        server.serve,
        "127.0.0.1",
        0,
        process_request=server.on_handshake,
        ssl=tls,
        max_size=None,
        compression=None,
        logger=_SILENT,
    ) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield server
