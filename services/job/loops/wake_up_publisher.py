"""Publishes wake-ups of workers: as soon as their transaction is committed, or else by the outbox relay."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import Context

from calotype import streams
from calotype.event.v1 import event_pb2

from common.cloud_events import headers
from common.ids import new_uuid7
from common.jetstream import FAILURES, JetStream
from services.job.store.committed_changes import CommittedChange
from services.job.store.outbox import Due

WAKE_SUBJECTS = {
    "generate": streams.WAKE_GENERATE,
    "upload": streams.WAKE_UPLOAD,
    "settle": streams.WAKE_SETTLE,
    "delete": streams.WAKE_DELETE,
}
#: CloudEvents source of all messages.
SOURCE = "calotype/job"
#: Outbox rows whose published wake-ups are remembered. Rows beyond are woken for again, under the same message id.
MAX_REMEMBERED = 10_000
#: Seconds without a wake-up of a kind after which the next one is published at its commit. Under load the relay
#: publishes those of several transactions together, so that a worker claims the work of all of them at once.
QUIET_SECONDS = 0.04


class WakeUpPublisher:
    """Publishes each wake-up without a confirmation; a lost one delays work until the worker's next poll."""

    def __init__(
        self, broker: JetStream, *, max_remembered: int = MAX_REMEMBERED, quiet_seconds: float = QUIET_SECONDS
    ) -> None:
        self._broker = broker
        self._max_remembered = max_remembered
        self._quiet_seconds = quiet_seconds
        # When a wake-up was last published, by kind, on the monotonic clock.
        self._published_at: dict[str, float] = {}
        # Ids of outbox rows, oldest first, whose wake-ups were published and which the relay has yet to publish.
        self._published: dict[str, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def on_commit(self, changes: Sequence[CommittedChange]) -> None:
        """Publishes the wake-ups of committed changes, in a task of its own; under load it leaves them to the relay."""
        due = [change.due for change in changes if self._is_quiet(change.due.wake)]
        if due and self._broker.is_connected:
            # In no caller's context: the wake-ups of a batch belong to several traces.
            task = asyncio.create_task(self._publish_all(due), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def publish_once(self, due: Due) -> None:
        """Publishes the wake-up of an outbox row, if it has one and this process has not published it yet."""
        if due.wake is not None and str(due.id) not in self._published:
            await self._publish_due(due)
        self._published.pop(str(due.id), None)

    async def wake_generators(self) -> None:
        """Wakes a generator after a slot was freed."""
        wake_headers = headers(event_id=str(new_uuid7()), source=SOURCE, kind="calotype.work.due", subject="generate")
        await self._publish("generate", wake_headers["ce-id"], wake_headers)

    def _is_quiet(self, kind: str | None) -> bool:
        if kind is None:
            return False
        published_at = self._published_at.get(kind)
        return published_at is None or time.monotonic() - published_at >= self._quiet_seconds

    async def _publish_all(self, due: Sequence[Due]) -> None:
        for each in due:
            self._published[str(each.id)] = None
            await self._publish_due(each)
        while len(self._published) > self._max_remembered:
            del self._published[next(iter(self._published))]

    async def _publish_due(self, due: Due) -> None:
        assert due.wake is not None
        self._published_at[due.wake] = time.monotonic()
        await self._publish(due.wake, f"{due.id}-wake", event_headers(due, "work.due", due.traceparent))

    async def _publish(self, kind: str, message_id: str, wake_headers: Mapping[str, str]) -> None:
        sent = {**wake_headers, "Nats-Msg-Id": message_id}
        with suppress(*FAILURES):
            await self._broker.publish_core(WAKE_SUBJECTS[kind], event_pb2.WakeUp().SerializeToString(), headers=sent)


def event_headers(due: Due, kind: str, parent: str | None) -> dict[str, str]:
    """Returns a message's CloudEvents headers; `parent` is the traceparent to send, None for the current span's."""
    common = headers(event_id=str(due.id), source=SOURCE, kind=f"calotype.{kind}", subject=due.job_id, parent=parent)
    return common | {"ce-sequence": str(due.sequence), "ce-time": due.occurred_at.isoformat()}
