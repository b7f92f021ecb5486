"""While a server is away every call answers and says so, and streams stay; afterwards all goes on by itself.

That each answer comes within two seconds is a matter of deadlines: see tests/integration/gateway/test_process.py.
"""

import json
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.stack.state import StackState
from tests.support.gateway.api_calls import CALLS
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.pauses import end_pauses
from tests.support.stacks.stack_clients import Client, caller

#: What needs nothing of anybody, and what needs the one server that is named.
ALONE = {"listUiStates", "isAlive"}
NEEDS_ONLY = {"listDeadLetters": "nats", "replayDeadLetter": "nats"}
#: What needs the notifier and its database, and no job-service.
WEBHOOKS = {name for name, call in CALLS.items() if "/webhooks" in call.path or "/deliveries/" in call.path}


def ask(client: Client, stack: StackState, name: str, jobs: dict[str, str]) -> httpx.Response:
    """The answer, or the beginning of a stream."""
    method, path, request = CALLS[name].about(**jobs)
    headers = {"Authorization": f"Bearer {stack.operator_key}"} if "admin" in path else {}
    with client.http.stream(method, path, headers=headers, **request) as answer:
        # A stream goes on for as long as the job does; its first bytes are what counts.
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
    return answer


def ask_without(away: str, client: Client, stack: StackState, name: str, jobs: dict[str, str]) -> httpx.Response:
    """The answer while a server is away; on a busy machine what does not need it is not always told at once, either."""
    deadline = time.monotonic() + PATIENCE
    while (answer := ask(client, stack, name, jobs)).status_code == 503 and not _is_needed(away, name):
        if name == "isReady" or time.monotonic() > deadline:
            break
    return answer


def follow(stack: StackState, job: str, seen: "queue.Queue[dict[str, Any]]") -> list[int]:
    """Reads one stream to its end; the sequences that it told."""
    told = []
    with (
        caller(stack) as http,
        http.stream("GET", f"/v1/jobs/{job}/events") as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data: ") and "sequence" in (change := json.loads(line[6:])):
                told.append(change["sequence"])
                seen.put(change)
    return told


def test_every_call_of_the_contract_is_asked(client: Client) -> None:
    document = client.http.get("/openapi.json").json()
    named = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}

    assert set(CALLS) == named


@pytest.mark.slow
@pytest.mark.parametrize("name", ["job", "postgres", "nats", "notifier"])
def test_every_call_answers_meanwhile_streams_stay_and_all_goes_on_afterwards(
    client: Client, stack: StackState, books: Books, server_folder: Path, name: str
) -> None:
    jobs = {which: client.follow(client.submit("made before", size="64x64")["id"])["id"] for which in ("job", "other")}
    books.finish.clear()
    slow, seen = client.submit(f"slow while {name} is away", provider="paid")["id"], queue.Queue[dict[str, Any]]()
    wrong: list[str] = []
    with (
        caller(stack) as http,
        ThreadPoolExecutor(len(CALLS) + 1) as threads,
    ):
        impatient = Client(http)
        following = threads.submit(follow, stack, slow, seen)
        while seen.get(timeout=PATIENCE)["status"] != "generating":
            pass
        with frozen(server_folder / "stack", name):
            answers = threads.map(lambda call: (call, ask_without(name, impatient, stack, call, jobs)), CALLS)
            for call, answer in answers:
                if call == "isReady":
                    continue
                if (answer.status_code == 503) != _is_needed(name, call):
                    wrong.append(f"{call}: {answer.status_code}")
                elif answer.status_code == 503:
                    assert _reason(answer) == "SERVICE_UNAVAILABLE"
                    assert answer.headers["Retry-After"]
            assert not following.done()
        end_pauses(stack.http, stack.operator_key)
        books.finish.set()
        told = following.result(timeout=PATIENCE)
    assert not wrong
    assert told == list(range(told[0], told[0] + len(told)))
    assert client.get(slow)["status"] == "completed"
    assert client.get(slow)["sequence"] == told[-1]

    _until(lambda: client.http.get("/readyz").status_code == 200)
    assert client.follow(client.submit("made afterwards", size="64x64")["id"])["status"] == "completed"


def _is_needed(name: str, call: str) -> bool:
    if call in WEBHOOKS:
        return name in ("notifier", "postgres")
    return call not in ALONE and name in ("job", NEEDS_ONLY.get(call, "postgres"))


def _reason(answer: httpx.Response) -> str:
    told = answer.json()
    return str(told["error"]["code"] if "error" in told else told["reason"]).upper()


def _until(holds: Any, *, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
