"""Two paid providers in one process, one synchronous and one asynchronous, that record every purchase in a file.

    python -m tests.support.providers.paid_server PORT BOOKS SEED

They have the APIs of the kinds `openai` and `replicate`. The fate of a purchase (slow, failed, refused, hanging, its
response lost, its operation gone) is a function of the seed and the purchase, and of the prompt, which can make it
slow. Each purchase is one line of JSON in the file before the response, and another when the request was carried out.
"""

import base64
import json
import os
import random
import struct
import sys
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "test-key"
PRICE_MICROS = 40_000
#: Out of a hundred purchases, so many end so; the rest goes well.
FATES = {
    "rate_limit": 4,
    "refused": 4,
    "invalid": 2,
    "broken": 4,
    "late": 2,
    "lost": 4,
    "failed": 4,
    "gone": 3,
    "fewer": 3,
    "more": 3,
    "expires": 3,
}
#: Fates that only a provider with operations knows.
OF_OPERATIONS = frozenset({"failed", "gone", "expires"})
NOT_BOUGHT = frozenset({"rate_limit", "refused", "invalid"})
#: Delay of a late response or operation in seconds: longer than the client's or the operation's timeout.
LATE_SECONDS = {"sync": 12.0, "async": 40.0}
#: Seconds for which the address of an image is good that expires.
ADDRESS_SECONDS = 1.5
#: Out of a hundred responses with a message of the provider, how many have one of a megabyte and a half.
WORDY, LONG_MESSAGE = 5, "a harbour, " * 140_000
#: A word in a prompt, and how long an operation takes whose prompt has it.
SLOWLY, SLOW_SECONDS = "slowly", 25.0
#: Seconds for which an operation is known after its end.
OPERATION_SECONDS = 600.0


def png(seed: str) -> bytes:
    """A small PNG that no other word has."""
    pixels = random.Random(seed).randbytes(8 * 8 * 3)
    rows = b"".join(b"\0" + pixels[row * 24 : row * 24 + 24] for row in range(8))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


@dataclass(kw_only=True)
class Purchase:
    """One thing that was bought."""

    id: str
    shape: str
    prompt: str
    count: int
    fate: str
    done_at: float
    canceled: bool = False

    @property
    def images(self) -> list[bytes]:
        """The images that it makes; as many as requested unless its fate changes the number."""
        made = {"fewer": max(self.count - 1, 1), "more": self.count + 1}.get(self.fate, self.count)
        return [png(f"{self.id}/{index}") for index in range(made)]

    @property
    def message(self) -> str:
        """The provider's text in the response."""
        return LONG_MESSAGE if random.Random(self.id).randrange(100) < WORDY else "a harbour"

    @property
    def is_over(self) -> bool:
        """Whether the provider has finished with it."""
        return self.canceled or time.time() >= self.done_at


class Shop:
    """Carries out purchases and records them."""

    def __init__(self, books: Path, seed: int) -> None:
        self._books = books.open("a", encoding="utf-8")
        self._seed = seed
        self._lock = threading.Lock()
        self._start = f"{os.getpid()}-{int(time.time())}"
        self._number = 0
        self.bought: dict[str, Purchase] = {}

    def buy(self, shape: str, prompt: str, count: int, request: Mapping[str, Any]) -> Purchase:
        """Records a request, whatever its fate."""
        with self._lock:
            self._number += 1
            number = self._number
        dice = random.Random(f"{self._seed}/{number}")
        fates = {name: weight for name, weight in FATES.items() if shape == "async" or name not in OF_OPERATIONS}
        names = [*fates, "good"]
        [fate] = dice.choices(names, [*fates.values(), 100 - sum(fates.values())])
        seconds = dice.choice((0.05, 0.2, 0.5, 1.0, 2.0, 5.0))
        if shape == "async" and SLOWLY in prompt:
            fate, seconds = "good", SLOW_SECONDS
        elif fate == "late":
            seconds = LATE_SECONDS[shape]
        made = Purchase(
            id=f"op-{self._start}-{number}",
            shape=shape,
            prompt=prompt,
            count=count,
            fate=fate,
            done_at=time.time() + seconds,
        )
        with self._lock:
            self.bought[made.id] = made
        digests = [sha256(image).hexdigest() for image in made.images]
        self.note("create", made, request=dict(request), images=digests, done_at=made.done_at)
        return made

    def note(self, event: str, purchase: Purchase, **more: Any) -> None:
        """Writes one line to the file."""
        entry = {
            "event": event,
            "time": time.time(),
            "id": purchase.id,
            "shape": purchase.shape,
            "prompt": purchase.prompt,
            "count": purchase.count,
            "fate": purchase.fate,
            "charged": purchase.fate not in NOT_BOUGHT,
        }
        with self._lock:
            self._books.write(json.dumps(entry | more) + "\n")
            self._books.flush()


class _Handler(BaseHTTPRequestHandler):
    shop: Shop
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._json(401, {"title": "Unauthenticated"})
        elif self.path.endswith("/cancel"):
            self._cancel()
        else:
            self._sell(json.loads(body))

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        purchase = self.shop.bought.get(parts[1]) if len(parts) > 1 else None
        if self.path == "/ready":
            self._json(200, {})
        elif purchase is None or (purchase.fate == "gone" and purchase.is_over):
            self._json(404, {"detail": "There is no such prediction."})
        elif parts[0] == "files" and purchase.fate == "expires" and time.time() > float(parts[3]):
            self._json(403, {"detail": "This address has expired."})
        elif parts[0] == "files":
            self._send(200, purchase.images[int(parts[2].removesuffix(".png"))], {"Content-Type": "image/png"})
        else:
            self._json(200, self._prediction(purchase))

    def _sell(self, request: dict[str, Any]) -> None:
        is_sync = self.path.endswith("/images/generations")
        prompt = request["prompt"] if is_sync else request["input"]["prompt"]
        count = request["n"] if is_sync else request["input"].get("num_outputs", 1)
        shape = "sync" if is_sync else "async"
        purchase = self.shop.buy(shape, prompt, int(count), request)
        if shape == "sync" and purchase.fate not in NOT_BOUGHT | {"broken", "lost"}:
            time.sleep(max(0.0, purchase.done_at - time.time()))
        # Before the response: its receiver may send the next request at once.
        self.shop.note("end", purchase)
        self._respond(purchase)

    def _respond(self, purchase: Purchase) -> None:
        is_sync = purchase.shape == "sync"
        match purchase.fate:
            case "rate_limit":
                self._json(429, {"error": {"code": "rate_limit_exceeded"}}, {"Retry-After": "1"})
            case "refused":
                code = "moderation_blocked" if is_sync else ""
                self._json(400 if is_sync else 422, {"error": {"code": code, "message": purchase.message}})
            case "invalid":
                self._json(400, {"error": {"code": "invalid_size"}})
            case "broken":
                self._json(500, {"error": {"code": "server_error"}})
            case "lost":
                self.close_connection = True
            case _ if is_sync:
                images = [
                    {"b64_json": base64.b64encode(image).decode(), "revised_prompt": purchase.message}
                    for image in purchase.images
                ]
                self._json(200, {"created": int(time.time()), "data": images})
            case _:
                self._json(201, self._prediction(purchase))

    def _cancel(self) -> None:
        purchase = self.shop.bought.get(self.path.strip("/").split("/")[1])
        if purchase is None:
            self._json(404, {"detail": "There is no such prediction."})
            return
        if not purchase.is_over:
            purchase.canceled = True
            self.shop.note("cancel", purchase)
        self._json(200, self._prediction(purchase))

    def _prediction(self, purchase: Purchase) -> dict[str, Any]:
        root = f"http://{self.headers['Host']}"
        own = f"{root}/predictions/{purchase.id}"
        body: dict[str, Any] = {"id": purchase.id, "urls": {"get": own, "cancel": f"{own}/cancel"}}
        if purchase.canceled:
            return body | {"status": "canceled"}
        if not purchase.is_over:
            return body | {"status": "processing"}
        if purchase.fate == "failed":
            return body | {"status": "failed", "error": purchase.message}
        until = f"/{time.time() + ADDRESS_SECONDS}" if purchase.fate == "expires" else ""
        urls = [f"{root}/files/{purchase.id}/{index}.png{until}" for index in range(len(purchase.images))]
        return body | {"status": "succeeded", "output": urls}

    def _json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that was killed or cut is what this server is for."""


def main(port: int, books: Path, seed: int) -> None:
    """Serve until killed."""
    handler = type("Handler", (_Handler,), {"shop": Shop(books, seed)})
    _Server(("127.0.0.1", port), handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
