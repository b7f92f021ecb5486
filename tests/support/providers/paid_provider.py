"""A paid, asynchronous provider with Replicate's API, controlled by the prompt, that records all requests.

Prompts: `good`, `slow` (until `finish` is set), `hangs` (no response until `release_hanging`), `drops` (the connection
breaks without a response), `refused`, `failed`, and the kind of result: `private`, `redirect`, `text`, `bomb`, `huge`,
`gone`. Edits, with OpenAI's API, are done at once. A path under `/says/` returns the status, or OpenAI's error code,
that it names.
"""

import base64
import io
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from tests.support.patience import PATIENCE

HUGE = 65 * 1024 * 1024
#: The one key that it takes.
KEY = "key-of-the-paid-provider-5d41"


class Books:
    """The requests that the provider received, and its controls."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.canceled: list[str] = []
        #: Bodies of requests that were turned away, whatever their shape.
        self.turned_away: list[str] = []
        #: Bodies of edits, as they came.
        self.edits: list[bytes] = []
        self.finish = threading.Event()
        self._hanging = threading.Event()
        self.changed = threading.Condition()
        self.url = ""

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Records a prediction."""
        with self.changed:
            prediction = {"id": f"p{len(self.created)}", "prompt": body["input"]["prompt"]}
            self.created.append(prediction)
            self.changed.notify_all()
        return prediction

    def wait_for_create(self, prompt: str, *, seconds: float = PATIENCE) -> None:
        """Wait until such a prompt was bought."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.count(prompt) > 0, timeout=seconds), (
                f"no request for {prompt!r} arrived"
            )

    def hang(self, prompt: str) -> None:
        """Holds the response to a prompt with `hangs` until `release_hanging`."""
        if "hangs" in prompt:
            self._hanging.wait(PATIENCE)

    def hold_hanging(self) -> None:
        """Holds further responses to prompts with `hangs`, also after `release_hanging`."""
        self._hanging.clear()

    def release_hanging(self) -> None:
        """Releases requests that hang."""
        self._hanging.set()

    def wait_for_edit(self) -> None:
        """Wait until an edit was bought."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(self.edits), timeout=PATIENCE), "no edit arrived"

    def wait_for_cancel(self, *, seconds: float = PATIENCE) -> None:
        """Waits for a cancellation."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(self.canceled), timeout=seconds), "no cancellation arrived"

    def count(self, prompt: str) -> int:
        """How often such a prompt was bought."""
        return sum(prompt in prediction["prompt"] for prediction in self.created)

    def prediction_body(self, prediction: dict[str, Any]) -> dict[str, Any]:
        """Returns the state of a prediction, as the API has it."""
        own = f"{self.url}/predictions/{prediction['id']}"
        body: dict[str, Any] = {"id": prediction["id"], "urls": {"get": own, "cancel": f"{own}/cancel"}}
        prompt = prediction["prompt"]
        if prediction["id"] in self.canceled:
            return body | {"status": "canceled"}
        if "slow" in prompt and not self.finish.is_set():
            return body | {"status": "processing"}
        if "refused" in prompt:
            return body | {"status": "failed", "error": "NSFW content detected"}
        if "failed" in prompt:
            return body | {"status": "failed", "error": "no such input"}
        return body | {"status": "succeeded", "output": [self._result(prompt)]}

    def _result(self, prompt: str) -> str:
        if "private" in prompt:
            return "http://127.0.0.1:9/picture.png"
        known = ("redirect", "text", "bomb", "huge", "gone")
        return f"{self.url}/files/{next((name for name in known if name in prompt), 'good')}.png"


def bomb() -> bytes:
    """A small file whose header claims 60,000 by 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png() -> bytes:
    """A good one, of 96 by 64 pixels."""
    encoded = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(encoded, "PNG")
    return encoded.getvalue()


class _Handler(BaseHTTPRequestHandler):
    books: Books
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/says/"):
            self._turn_away(self.path.split("/")[2], body)
        elif self.headers.get("Authorization") != f"Bearer {KEY}":
            self._json(401, {"title": "Unauthenticated"})
        elif self.path.endswith("/images/edits"):
            with self.books.changed:
                self.books.edits.append(body)
                self.books.changed.notify_all()
            self.books.hang(body.decode("latin-1"))
            if b"drops" in body:
                self.close_connection = True
                return
            self._json(200, {"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}]})
        elif self.path.endswith("/cancel"):
            with self.books.changed:
                self.books.canceled.append(self.path.split("/")[2])
                self.books.changed.notify_all()
            self._json(200, self.books.prediction_body(self._prediction()))
        else:
            prediction = self.books.create(json.loads(body))
            self.books.hang(prediction["prompt"])
            if "drops" in prediction["prompt"]:
                self.close_connection = True
                return
            self._json(201, self.books.prediction_body(prediction))

    def _turn_away(self, code: str, body: bytes) -> None:
        self.books.turned_away.append(body.decode())
        status = int(code) if code.isdecimal() else 400
        self._json(status, {"error": {"code": code, "message": "no"}})

    def do_GET(self) -> None:
        if self.path.startswith("/files/"):
            self._file(self.path.removeprefix("/files/").removesuffix(".png"))
        else:
            self._json(200, self.books.prediction_body(self._prediction()))

    def _prediction(self) -> dict[str, Any]:
        return self.books.created[int(self.path.split("/")[2].removeprefix("p"))]

    def _file(self, name: str) -> None:
        if name == "redirect":
            self._send(302, b"", {"Location": "http://169.254.169.254/latest/meta-data"})
        elif name == "gone":
            self._send(404, b"gone", {})
        elif name == "huge":
            self._send(200, b"", {"Content-Length": str(HUGE)})
        else:
            self._send(200, {"text": b"<html>no</html>", "bomb": bomb()}.get(name) or png(), {})

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = "Content-Length" in headers


@contextmanager
def paid_provider() -> Iterator[Books]:
    """The provider on a free port of this machine."""
    books = Books()
    handler = type("Handler", (_Handler,), {"books": books})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    # A client that was killed is part of the test, not a fault of this server.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    books.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield books
    server.shutdown()
    server.server_close()
    thread.join()
