"""The log lines of whole jobs, of all services, found by the job's id."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cli.__main__ import main
from cli.stack.state import StackState
from tests.support.patience import PATIENCE
from tests.support.stacks.stack_clients import Client

SECRET = "violet-submarine-4711"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4737"
Line = dict[str, Any]


def lines_of(folder: Path, job_id: str, *, until: Callable[[Line], bool]) -> list[Line]:
    """Returns the lines that name a job, by time, once one of them is as expected."""
    deadline = time.monotonic() + PATIENCE
    while True:
        shown = CliRunner().invoke(main, ["logs", job_id, "--json", "--data", str(folder)])
        lines = [json.loads(line) for line in shown.stdout.splitlines()]
        if any(until(line) for line in lines):
            return lines
        assert time.monotonic() < deadline, lines
        threading.Event().wait(0.1)


def changes(lines: list[Line]) -> list[tuple[str | None, str]]:
    """Returns the states of the job's transitions, with the state before."""
    return [(line["from"], line["to"]) for line in lines if line["message"] == "job.changed"]


def test_every_service_logs_its_part_of_a_job_that_succeeds(
    client: Client, stack: StackState, server_folder: Path
) -> None:
    submitted = client.http.post(
        "/v1/jobs",
        json={"prompt": SECRET, "size": "128x128"},
        headers={"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"},
    ).json()
    client.follow(submitted["id"])
    lines = lines_of(server_folder / "stack", submitted["id"], until=lambda line: line.get("to") == "completed")

    assert changes(lines) == [
        (None, "queued"),
        ("queued", "processing"),
        ("processing", "generating"),
        ("generating", "uploading"),
        ("uploading", "uploading"),
        ("uploading", "completed"),
    ]
    by_name = {
        line["message"]: line for line in lines if line["message"] in ("job.changed", "call.ended", "upload.ended")
    }
    assert {line["tenant"] for line in by_name.values()} == {"default"}
    assert {line["trace_id"] for line in by_name.values()} == {TRACE_ID}
    assert all(line["duration_seconds"] >= 0 and line["level"] == "info" for line in by_name.values())
    call, upload, last = by_name["call.ended"], by_name["upload.ended"], by_name["job.changed"]
    assert (call["service"], call["outcome"], call["provider"], call["cost_micros"]) == (
        "generator",
        "succeeded",
        "procedural",
        0,
    )
    assert (upload["service"], upload["outcome"], upload["images"]) == ("uploader", "stored", 1)
    assert last["total_seconds"] >= last["duration_seconds"]


def test_a_job_that_fails_says_where_and_why(client: Client, stack: StackState, server_folder: Path) -> None:
    submitted = client.http.post("/v1/jobs", json={"prompt": SECRET, "provider": "strict"}).json()
    client.follow(submitted["id"])
    lines = lines_of(server_folder / "stack", submitted["id"], until=lambda line: line.get("to") == "failed")
    [call] = [line for line in lines if line["message"] == "call.ended"]
    [failed] = [line for line in lines if line.get("transition") == "job.failed"]

    assert (call["outcome"], call["reason"], call["provider"]) == ("refused", "CONTENT_POLICY", "strict")
    assert (failed["stage"], failed["reason"]) == ("generating", call["reason"])
    assert failed["code"] == call["code"]


def test_no_line_has_a_secret_of_the_request(client: Client, stack: StackState, server_folder: Path) -> None:
    image = f"https://pictures.invalid/in.png?signature={SECRET}"
    body = {"prompt": SECRET, "provider": "edits", "input_images": [{"url": image}], "metadata": {"note": SECRET}}
    submitted = client.http.post("/v1/jobs", json=body).json()
    client.follow(submitted["id"])
    lines_of(server_folder / "stack", submitted["id"], until=lambda line: line.get("to") == "failed")
    logs = [file.read_text(encoding="utf-8") for file in (server_folder / "stack" / "logs").glob("*.log*")]

    assert not any(secret in log for log in logs for secret in (SECRET, stack.api_key, stack.grpc_token, "pictures.in"))


def test_the_level_of_every_service_changes_by_command(stack: StackState, server_folder: Path) -> None:
    changed = CliRunner().invoke(
        main, ["log-level", "all", "info", "--for", "1s", "--data", str(server_folder / "stack")]
    )

    assert changed.exit_code == 0
    assert [line.split()[0] for line in changed.stdout.splitlines()] == [*stack.operations]
    assert {*stack.operations} == {"job", "generator", "uploader", "notifier"}
