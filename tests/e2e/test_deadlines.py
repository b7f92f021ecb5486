"""A job that may not take longer ends in time, and says so."""

from datetime import datetime
from pathlib import Path
from typing import Any

from cli.stack.state import StackState
from tests.support.freezing import frozen
from tests.support.paid_provider import Books
from tests.support.stack import Client

#: The monitor's interval, its second look, and a busy machine.
MARGIN_SECONDS = 10.0


def seconds_taken(job: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(job[name]) for name in ("created_at", "completed_at"))
    return (ended - began).total_seconds()


def test_a_job_that_nobody_starts_in_time_fails_in_the_queue(
    client: Client, stack: StackState, server_folder: Path
) -> None:
    with frozen(server_folder / "stack", "generator"):
        job = client.follow(client.submit("in a hurry", start_within_seconds=1)["id"])

    assert (job["status"], job["failure_stage"]) == ("failed", "queued")
    assert (job["error"]["code"], job["error"]["reason"]) == ("TIMEOUT", "DEADLINE_EXCEEDED")
    assert (job["display"]["key"], job["display"]["actions"]) == ("failed_deadline", ["retry"])
    assert job["attempt_count"] == 0
    assert 1 <= seconds_taken(job) < 1 + MARGIN_SECONDS


def test_a_job_that_is_not_finished_in_time_is_canceled_at_the_provider_and_fails_where_it_stands(
    client: Client, books: Books
) -> None:
    books.finish.clear()
    prompt = "slow, and too late"
    job = client.follow(client.submit(prompt, provider="paid", finish_within_seconds=2)["id"])
    attempts = client.http.get(f"/v1/jobs/{job['id']}/attempts").json()["attempts"]
    [call] = [call for attempt in attempts for call in attempt["provider_calls"]]
    books.finish.set()

    assert (job["status"], job["failure_stage"]) == ("failed", "generating")
    assert (job["error"]["code"], job["error"]["reason"]) == ("TIMEOUT", "DEADLINE_EXCEEDED")
    assert job["display"]["key"] == "failed_deadline"
    assert call["phase"] == "canceled"
    assert 2 <= seconds_taken(job) < 2 + MARGIN_SECONDS
    assert books.count(prompt) == 1


def test_a_job_that_is_in_time_hears_nothing_of_it(client: Client) -> None:
    job = client.submit("no hurry", size="64x64", start_within_seconds=60, finish_within_seconds=120)

    assert client.follow(job["id"])["status"] == "completed"
