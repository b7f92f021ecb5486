"""While a server is away every call answers soon and says so; afterwards all goes on by itself."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.stack.state import StackState
from tests.support.freezing import frozen
from tests.support.stack import Client

#: The promise, and what a busy machine adds to thirteen questions at once; in seconds.
SOON, NOISE = 2.0, 1.0
ENDPOINTS = [
    ("POST", "/v1/jobs", {"prompt": "while somebody is away", "size": "64x64"}),
    ("GET", "/v1/jobs", None),
    ("GET", "/v1/jobs/{job}", None),
    ("GET", "/v1/jobs/{job}/attempts", None),
    ("GET", "/v1/jobs/{job}/events?after=0", None),
    ("POST", "/v1/jobs/{job}/cancel", None),
    ("POST", "/v1/jobs/{job}/retry", {}),
    ("DELETE", "/v1/jobs/{other}", None),
    ("GET", "/v1/providers", None),
    ("GET", "/v1/ui-states", None),
    ("GET", "/v1/admin/dead", None),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
]
#: What needs nothing of anybody, and what needs the one server that is named.
ALONE = {"/v1/ui-states", "/healthz"}
NEEDS_ONLY = {"/v1/admin/dead": "nats"}


def ask(client: Client, stack: StackState, method: str, path: str, body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {stack.operator_key}"} if "admin" in path else {}
    began = time.monotonic()
    with client.http.stream(method, path, json=body, headers=headers) as answer:
        took = time.monotonic() - began
        # A stream goes on for as long as the job does; its first bytes are what counts.
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
    assert took < SOON + NOISE, f"{method} {path} took {took:.1f} s"
    return answer


@pytest.mark.parametrize("name", ["job", "postgres", "nats"])
def test_every_call_answers_soon_and_all_goes_on_afterwards(
    client: Client, stack: StackState, server_folder: Path, name: str
) -> None:
    job = client.follow(client.submit("made before", size="64x64")["id"])
    other = client.follow(client.submit("made before too", size="64x64")["id"])
    wrong: list[str] = []
    with frozen(server_folder / "stack", name), ThreadPoolExecutor(len(ENDPOINTS)) as threads:

        def answer_of(endpoint: tuple[str, str, Any]) -> httpx.Response:
            method, path, body = endpoint
            return ask(client, stack, method, path.format(job=job["id"], other=other["id"]), body)

        for (method, path, _), answer in zip(ENDPOINTS, threads.map(answer_of, ENDPOINTS), strict=True):
            if path != "/readyz" and (answer.status_code == 503) != _is_needed(name, path):
                wrong.append(f"{method} {path}: {answer.status_code}")
            if path != "/readyz" and answer.status_code == 503:
                assert answer.json()["reason"] == "SERVICE_UNAVAILABLE"
                assert answer.headers["Retry-After"]
    assert not wrong

    _until(lambda: client.http.get("/readyz").status_code == 200)
    assert client.follow(client.submit("made afterwards", size="64x64")["id"])["status"] == "completed"


def _is_needed(name: str, path: str) -> bool:
    return path not in ALONE and name in ("job", NEEDS_ONLY.get(path, "postgres"))


def _until(holds: Any, *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
