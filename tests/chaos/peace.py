"""Waits until nothing is left to do, and writes down how everything stands then."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import grpc
import nats
import psutil
from calotype import streams
from calotype.event.v1 import event_pb2
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from cli.stack.embedded import BUCKET, STAGING_BUCKET
from tests.chaos.evidence import Peace
from tests.chaos.history import names_in
from tests.chaos.stack import ChaosStack
from tests.support.patience import PATIENCE
from tests.support.security.identities import OPERATOR

#: Longest time for what is left to do once there are no faults any more.
PEACE_SECONDS = 600.0
QUEUES = {
    "outbox": "SELECT count(*) FROM outbox",
    # One that was seen empty may be kept until it is surely so for ever.
    "deletions": "SELECT count(*) FROM deletions WHERE seen_empty_at IS NULL",
    "settlements": "SELECT count(*) FROM provider_calls WHERE phase IN ('intended', 'accepted')",
    "leases": "SELECT count(*) FROM jobs WHERE lease_token IS NOT NULL",
}
IDLE_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()
    AND state_change < pg_catalog.clock_timestamp() - interval '1 second'
"""
SERVICES = ("job", "generator", "uploader", "notifier", "gateway")
BATCH = 500


def await_drained(connection: Any) -> dict[str, float | None]:
    """Seconds until each queue was empty; None for one that was not when the time was over."""
    drained: dict[str, float | None] = dict.fromkeys(QUEUES)
    since = time.monotonic()
    while None in drained.values() and time.monotonic() - since < PEACE_SECONDS:
        for name, statement in QUEUES.items():
            if _number(connection, statement):
                # What fills again was not drained before.
                drained[name] = None
            elif drained[name] is None:
                drained[name] = time.monotonic() - since
        time.sleep(0.2)
    return drained


def observed(stack: ChaosStack, connection: Any, *, later: float, **known: Any) -> Peace:
    """How everything stands; `later` is in so many seconds."""
    deadline = time.monotonic() + later
    facts = asyncio.run(_facts(stack.addresses.nats_url))
    busy = {name: _busy(address) for name, address in stack.addresses.operations.items()}
    threads = {name: psutil.Process(stack.pid(name)).num_threads() for kind in SERVICES for name in stack.names(kind)}
    idle = _settled(lambda: _number(connection, IDLE_TRANSACTIONS))
    time.sleep(max(deadline - time.monotonic(), 0.0))
    buckets = {bucket: names_in(stack.addresses.storage_url, bucket) for bucket in (BUCKET, STAGING_BUCKET)}
    return Peace(facts=facts, busy=busy, threads=threads, idle_transactions=idle, later=buckets, **known)


def feed_of(stack: ChaosStack) -> list[tuple[str, int]]:
    """Job and sequence of every stored event, in the order of the stores."""
    with stack.brokers() as urls:
        return [one for url in urls for one in asyncio.run(_feed(url))]


async def _feed(url: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    client = await nats.connect(url.split(","))
    try:
        context = client.jetstream(timeout=PATIENCE)
        try:
            last = (await context.stream_info(streams.EVENTS["name"])).state.last_seq
        except NotFoundError:
            return []
        reader = await context.pull_subscribe("calotype.event.>", stream=streams.EVENTS["name"])
        seen = 0
        while seen < last:
            for message in await reader.fetch(BATCH, timeout=PATIENCE):
                event = event_pb2.JobEvent.FromString(message.data)
                found.append((event.job_id, event.sequence))
                seen = message.metadata.sequence.stream
                await message.ack()
    finally:
        await client.close()
    return found


async def _facts(url: str) -> Mapping[str, int]:
    """The facts consumer once it has nothing to do, or as it is when the time is over."""
    client = await nats.connect(url.split(","))
    deadline = time.monotonic() + PATIENCE
    try:
        context = client.jetstream(timeout=PATIENCE)
        while True:
            told = await _facts_left(context)
            if not any(told.values()) or time.monotonic() > deadline:
                return told
            await asyncio.sleep(0.2)
    finally:
        await client.close()


async def _facts_left(context: JetStreamContext) -> Mapping[str, int]:
    try:
        stored = (await context.stream_info(streams.FACTS["name"])).state.messages
        consumer = await context.consumer_info(streams.FACTS["name"], streams.FACTS_CONSUMER)
    except NotFoundError:
        # A broker that was wiped just now gets both again.
        return {"without a stream": 1}
    return {
        "stored": stored,
        "not delivered": consumer.num_pending or 0,
        "not acknowledged": consumer.num_ack_pending or 0,
        "behind the floor": consumer.delivered.stream_seq - consumer.ack_floor.stream_seq,
    }


def _busy(address: str) -> int:
    shown = (("authorization", f"Bearer {OPERATOR}"),)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = operations_service_pb2_grpc.OperationsServiceStub(channel)

        def look() -> int:
            asked = ops.GetStatusRequest()
            told = stub.GetStatus(asked, timeout=PATIENCE, wait_for_ready=True, metadata=shown)
            return int(told.counters["slots_busy"])

        return _settled(look)


def _settled(look: Any) -> int:
    """What is seen once it is nothing, or when the time is over."""
    deadline = time.monotonic() + PATIENCE
    while (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return int(seen)


def _number(connection: Any, statement: str) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return int(cursor.fetchone()[0])


def write_feed(stack: ChaosStack, file: Any) -> None:
    """Keep the stored events."""
    file.write_text(json.dumps(feed_of(stack)), encoding="utf-8")
