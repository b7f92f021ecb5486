"""Whatever is killed or wiped, an accepted job comes to its end, and is paid for once."""

import os
import signal
from pathlib import Path

import nats
import psutil
import pytest

from cli.stack.state import StackState, read_state
from tests.support.paid_provider import Books
from tests.support.patience import PATIENCE
from tests.support.stack import Client, expire_lease


def kill(stack: StackState, name: str) -> None:
    """End a process as a crash would; the stack starts it again."""
    for pid in stack.pids[name]:
        process = psutil.Process(pid)
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([process], timeout=PATIENCE)


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
    books.answer_hanging()
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
