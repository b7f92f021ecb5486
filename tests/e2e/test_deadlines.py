"""A job that may not take longer ends in time, and says so."""

from datetime import datetime
from pathlib import Path
from typing import Any

from cli.stack.state import StackState
from tests.support.providers.paid_provider import Books
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.stack_clients import Client


def seconds_taken(job: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(job[name]) for name in ("created_at", "completed_at"))
    return (ended - began).total_seconds()


def test_a_job_that_nobody_starts_in_time_fails_in_the_queue(
    client: Client, stack: StackState, server_folder: Path
) -> None:
    with frozen(server_folder / "stack", "generator"):
        patient = client.submit("in no hurry", start_within_seconds=3600)["id"]
        job = client.follow(client.submit("in a hurry", start_within_seconds=1)["id"])
        meanwhile = client.get(patient)

    assert (job["status"], job["failure_stage"]) == ("failed", "queued")
    assert (job["error"]["code"], job["error"]["reason"]) == ("TIMEOUT", "DEADLINE_EXCEEDED")
    assert (job["display"]["key"], job["display"]["actions"]) == ("failed_deadline", ["retry"])
    assert job["attempt_count"] == 0
    # It did not wait for a generator: none was there. Another job, which has more time, goes on waiting for one.
    assert seconds_taken(job) >= 1
    assert meanwhile["status"] == "queued"


def test_a_job_that_is_not_finished_in_time_is_canceled_at_the_provider_and_fails_where_it_stands(
    client: Client, books: Books
) -> None:
    books.finish.clear()
    # On a busy machine the time may be over before anything is bought: then another job gets more of it.
    for seconds in (2, 4, 8, 16, 32, 64):
        prompt = f"slow, and too late after {seconds} s"
        job = client.follow(client.submit(prompt, provider="paid", finish_within_seconds=seconds)["id"])
        attempts = client.http.get(f"/v1/jobs/{job['id']}/attempts").json()["attempts"]
        calls = [call for attempt in attempts for call in attempt["provider_calls"]]
        assert job["status"] == "failed"
        assert (job["error"]["code"], job["error"]["reason"]) == ("TIMEOUT", "DEADLINE_EXCEEDED")
        assert seconds_taken(job) >= seconds
        if books.count(prompt):
            break
    books.finish.set()

    assert job["failure_stage"] == "generating"
    assert job["display"]["key"] == "failed_deadline"
    assert [call["phase"] for call in calls] == ["canceled"]
    assert books.count(prompt) == 1


def test_a_job_that_is_in_time_hears_nothing_of_it(client: Client) -> None:
    job = client.submit("no hurry", size="64x64", start_within_seconds=600, finish_within_seconds=1200)

    assert client.follow(job["id"])["status"] == "completed"
