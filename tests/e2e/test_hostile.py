"""Hostile input gets a clear refusal and harms nobody; tests/benchmarks/hostile.py does it for minutes."""

import asyncio
import random
from pathlib import Path

import pytest

from cli.stack.state import StackState
from tests.support.gateway import hostile_requests
from tests.support.patience import PATIENCE, pause
from tests.support.stacks.stack_clients import Client

#: How many of each kind.
TIMES = 6


@pytest.fixture
def target(stack: StackState, server_folder: Path) -> hostile_requests.Target:
    """The gateway, to somebody who means harm."""
    return hostile_requests.target_of(stack, server_folder / "stack")


async def answer_to(target: hostile_requests.Target, sent: bytes, attack: hostile_requests.Attack) -> tuple[int, bytes]:
    """The answer; sent again for as long as a busy machine is not in time for anything."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await hostile_requests.send(target, sent))[0] == 503 and 503 not in attack.expected_statuses:
            await pause()
    return answer


async def stand_idle(target: hostile_requests.Target) -> int:
    """A stream that is opened and never read; opened again while it is one too many, or a busy machine is too late."""
    async with asyncio.timeout(PATIENCE):
        while (status := await hostile_requests.stand_idle(target, 8)) in (0, 503):
            pass
    return status


@pytest.mark.parametrize("attack", hostile_requests.ATTACKS, ids=lambda attack: attack.name)
async def test_hostile_input_is_refused(target: hostile_requests.Target, attack: hostile_requests.Attack) -> None:
    rng = random.Random(7)
    times = TIMES if attack.weight >= 1 else 1
    sent = [attack.make(target, rng) for _ in range(times)]
    answers = await asyncio.gather(*[answer_to(target, one, attack) for one in sent])

    wrong = [
        (status, one[:120])
        for (status, _), one in zip(answers, sent, strict=True)
        if status not in attack.expected_statuses
    ]
    assert not wrong
    assert all(b"Traceback" not in answer for _, answer in answers)
    assert all(b'"type":' in answer for status, answer in answers if status >= 400)


@pytest.mark.slow
async def test_the_service_serves_on_among_idle_streams_and_slow_bodies(
    client: Client, target: hostile_requests.Target
) -> None:
    idle = [asyncio.create_task(stand_idle(target)) for _ in range(500)]
    slow = [asyncio.create_task(hostile_requests.trickle(target, 8)) for _ in range(100)]
    job = await asyncio.to_thread(client.submit, "made among idlers", size="64x64")
    ended = await asyncio.to_thread(client.follow, job["id"])

    assert ended["status"] == "completed"
    assert set(await asyncio.gather(*idle)) == {200}
    await asyncio.gather(*slow)
