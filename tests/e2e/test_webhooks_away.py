"""Whoever dies or is away in the middle of a delivery, the event arrives, under the same id."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from cli.stack.state import StackState, read_state
from tests.support.notifier.scripted_receiver import ERROR, OK, scripted
from tests.support.patience import PATIENCE, pause
from tests.support.stacks.frozen_servers import frozen
from tests.support.stacks.stack_clients import Client

# The process is dead: its lease may end at once, as one of a minute does by itself.
END_LEASE = "UPDATE webhook_deliveries SET leased_until = now() WHERE url = %(url)s AND state = 'sending'"
MAKE_DUE = """
WITH due AS (
    UPDATE webhook_deliveries SET due_at = now() WHERE url = %(url)s AND state = 'pending' RETURNING endpoint_id
)
UPDATE webhook_endpoints SET ready_at = now() FROM due WHERE id = due.endpoint_id
"""
DELIVERY = "SELECT state, attempt_count, attempts_made FROM webhook_deliveries WHERE url = %(url)s"


def sql(stack: StackState, statement: str, url: str) -> list[tuple[Any, ...]]:
    """Run a statement as the notifier; its rows, where it has some."""
    with (
        closing(psycopg2.connect(stack.notifier_database_url)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, {"url": url})
        return list(cursor.fetchall()) if cursor.description else []


async def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Look until it is so."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await pause()


async def test_a_notifier_that_dies_in_the_middle_of_an_attempt_delivers_when_it_is_back(
    client: Client, stack: StackState, server_folder: Path
) -> None:
    async with scripted(None, OK) as receiver:
        await asyncio.to_thread(client.submit, "while the notifier dies", size="64x64", callback_url=receiver.url)
        first = await receiver.next()
        current = read_state(server_folder / "stack")
        assert current is not None
        for pid in current.pids["notifier"]:
            process = psutil.Process(pid)
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(psutil.wait_procs, [process], timeout=PATIENCE)
        sql(stack, END_LEASE, receiver.url)
        second = await receiver.next()
        await wait_until(lambda: sql(stack, DELIVERY, receiver.url) == [("delivered", 1, 2)], "delivered")

    # The attempt that was cut off is recorded, and counts for nothing.
    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    assert second.body == first.body


async def test_while_job_service_is_away_due_deliveries_wait_and_burn_no_attempt(
    client: Client, stack: StackState, server_folder: Path
) -> None:
    log = server_folder / "stack" / "logs" / "notifier.log"
    async with scripted(ERROR, OK) as receiver:
        await asyncio.to_thread(client.submit, "while job-service is away", size="64x64", callback_url=receiver.url)
        first = await receiver.next()
        await wait_until(lambda: sql(stack, DELIVERY, receiver.url) == [("pending", 1, 1)], "failed once")
        with frozen(server_folder / "stack", "job"):
            before = log.read_text(encoding="utf-8").count("jobs.not_read")
            sql(stack, MAKE_DUE, receiver.url)
            await wait_until(lambda: log.read_text(encoding="utf-8").count("jobs.not_read") > before, "claimed")
            await wait_until(lambda: sql(stack, DELIVERY, receiver.url)[0][1:] == (1, 1), "released")
            assert receiver.received.empty()
        second = await receiver.next()
        await wait_until(lambda: sql(stack, DELIVERY, receiver.url) == [("delivered", 2, 2)], "delivered")

    assert second.headers["webhook-id"] == first.headers["webhook-id"]
