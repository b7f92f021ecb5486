"""A broker that records what a relay publishes, and stalls or refuses as a test sets."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from calotype.event.v1 import event_pb2

from common.jetstream import BrokerUnavailable, JetStream


class RecordingJetStream(JetStream):
    """Where relays publish to; `first` has the sequences by job, in the order in which each was first published."""

    def __init__(
        self, *, first: dict[str, list[int]] | None = None, stall_at: int | None = None, refuse_from: int | None = None
    ) -> None:
        # Several relays may share their notes.
        self.first: dict[str, list[int]] = defaultdict(list) if first is None else first
        self.stalled, self.go_on = asyncio.Event(), asyncio.Event()
        self._stall_at = stall_at
        self._refuse_from = refuse_from
        self._attempts = 0

    @property
    def is_connected(self) -> bool:
        """Always."""
        return True

    async def publish_core(self, subject: str, body: bytes, *, headers: Mapping[str, str] | None = None) -> None:
        """Take a wake-up."""

    async def publish(
        self, subject: str, body: bytes, *, message_id: str, headers: Mapping[str, str], timeout: float = 5.0
    ) -> None:
        """Note an event, once the test lets it."""
        if not subject.startswith("calotype.event."):
            return
        self._attempts += 1
        if self._refuse_from is not None and self._attempts >= self._refuse_from:
            raise BrokerUnavailable("as the test says")
        if self._attempts == self._stall_at:
            self.stalled.set()
            await self.go_on.wait()
        await asyncio.sleep(0)
        event = event_pb2.JobEvent.FromString(body)
        if event.sequence not in self.first[event.job_id]:
            self.first[event.job_id].append(event.sequence)
