"""Whatever is killed or wiped, an accepted job comes to its end, and is paid for once."""

import threading
import time
from pathlib import Path

import nats
import pytest

from cli.stack.state import StackState, read_state
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.killed_servers import kill
from tests.support.stacks.stack_clients import Client, expire_lease, let_time_pass

#: So often somebody looks at a job; as often it would be put back, and then given up, if that were a try.
LOOKS = 3


@pytest.mark.parametrize("victim", ["job", "generator", "postgres", "nats", "storage"])
def test_a_crash_while_a_provider_works_delays_a_job_and_buys_nothing_twice(
    client: Client, books: Books, stack: StackState, server_folder: Path, victim: str
) -> None:
    prompt = f"slow while {victim} dies"
    books.finish.clear()
    job = client.submit(prompt, provider="paid")
    client.wait_for_call(job["id"], phase="accepted")
    current = read_state(server_folder / "stack")
    assert current is not None
    kill(current, victim)
    if victim == "generator":
        expire_lease(stack.database_url, job["id"])
    books.finish.set()
    end = client.follow(job["id"])

    assert end["status"] == "completed", end["error"]
    assert books.count(prompt) == 1


def test_a_long_operation_is_followed_to_its_picture_by_whoever_comes_after_a_crash(
    client: Client, books: Books, stack: StackState, server_folder: Path
) -> None:
    prompt = "slow, for longer than a job may be processing"
    books.finish.clear()
    job, witness = (client.submit(one, provider="paid")["id"] for one in (prompt, "slow, while somebody looks"))
    for one in (job, witness):
        client.wait_for_call(one, phase="accepted")
    current = read_state(server_folder / "stack")
    assert current is not None
    kill(current, "generator")
    for one in (job, witness):
        expire_lease(stack.database_url, one)
    for one in (job, witness):
        wait_until_followed(client, one, claims=2)
    for _ in range(LOOKS):
        let_time_pass(stack.database_url, job, seconds=120, witness=witness)
        wait_until_followed(client, witness)
    books.finish.set()
    end = client.follow(job)

    assert end["status"] == "completed", end["error"]
    # Not one more for each look.
    assert claims_of(client, job) < 2 + LOOKS
    assert books.count(prompt) == 1
    assert client.follow(witness)["status"] == "completed"


def claims_of(client: Client, job_id: str) -> int:
    """How often a generator claimed the job."""
    attempts = client.http.get(f"/v1/jobs/{job_id}/attempts").json()["attempts"]
    return sum(attempt["stage"] == "generating" for attempt in attempts)


def wait_until_followed(client: Client, job_id: str, *, claims: int = 0) -> None:
    """Wait until a generator is at the job, after so many claims."""
    deadline = time.monotonic() + PATIENCE
    while client.get(job_id)["status"] != "generating" or claims_of(client, job_id) < claims:
        assert time.monotonic() < deadline, f"nobody follows {job_id}: {client.get(job_id)}"
        threading.Event().wait(0.1)


def test_pictures_wait_for_an_uploader_for_longer_than_a_copy_may_take(
    client: Client, books: Books, stack: StackState, server_folder: Path
) -> None:
    books.finish.clear()
    witness = client.submit("slow, while nobody uploads", provider="paid")["id"]
    wait_until_followed(client, witness)
    with frozen(server_folder / "stack", "uploader"):
        job = client.follow(client.submit("made while nobody uploads", size="64x64")["id"], until=("uploading",))
        for _ in range(LOOKS):
            let_time_pass(stack.database_url, job["id"], seconds=600, witness=witness)
            wait_until_followed(client, witness)
        waiting = client.get(job["id"])
    books.finish.set()
    end = client.follow(job["id"])

    assert (waiting["status"], waiting["sequence"]) == ("uploading", job["sequence"])
    assert end["status"] == "completed", end["error"]
    assert client.follow(witness)["status"] == "completed"


def test_a_paid_call_of_unknown_outcome_is_not_repeated(
    client: Client, books: Books, stack: StackState, server_folder: Path
) -> None:
    prompt = "hangs before it answers"
    job = client.submit(prompt, provider="paid")
    books.wait_for_create(prompt)
    current = read_state(server_folder / "stack")
    assert current is not None
    kill(current, "generator")
    expire_lease(stack.database_url, job["id"])
    books.release_hanging()
    end = client.follow(job["id"])

    assert (end["status"], end["failure_stage"]) == ("failed", "generating")
    assert (end["error"]["code"], end["error"]["reason"]) == ("TIMEOUT", "AMBIGUOUS_OUTCOME")
    assert end["display"]["actions"] == ["retry_may_charge_again"]
    assert books.count(prompt) == 1


async def test_wiping_the_work_stream_delays_and_loses_nothing(client: Client, stack: StackState) -> None:
    broker = await nats.connect(stack.nats_url)
    await broker.jetstream().delete_stream("CALOTYPE_WORK")
    job = client.submit("after the flood", size="64x64")
    await broker.close()

    assert client.follow(job["id"])["status"] == "completed"
