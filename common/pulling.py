"""Pulling messages from a JetStream consumer: what is there is had at once, what stalls is built anew.

The library's own `fetch` waits for a whole batch until its timeout, and can leave requests behind that swallow the next
message. This asks by the same protocol, and keeps what arrives, whichever request brought it.
"""

import asyncio
import itertools
import json
import logging
import time

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from common.declarations import ConsumerSpec
from common.jetstream import FAILURES, JetStream
from common.logs import event

_LOG = logging.getLogger(__name__)
#: Statuses by which the server ends a request: nothing there, expired, or something about the consumer changed.
_REQUEST_ENDED = ("404", "408", "409")
_HEARTBEAT = "100"
#: A request that is silent for so much longer (seconds) than it was to live has been forgotten by the server.
STALL_SECONDS = 1.0
PAUSE_SECONDS = 0.2


class Subscription:
    """Pulls from one consumer; made anew whenever the broker, the stream or the consumer was away.

    One that does not declare its consumer waits until another process has.
    """

    def __init__(self, broker: JetStream, spec: ConsumerSpec, *, declares: bool = True) -> None:
        self._broker = broker
        self._spec = spec
        self._declares = declares
        self._inbox: NatsSubscription | None = None
        self._prefix = ""
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._request = ""
        self._wanted = 0
        self._expires = 0.0

    async def fetch(self, most: int, *, wait_seconds: float) -> list[Msg]:
        """At most so many messages, as soon as there is one; none after the wait or while the broker is away."""
        try:
            if self._inbox is None:
                await self._open()
            if self._wanted <= 0 or time.monotonic() >= self._expires:
                await self._ask(most, wait_seconds)
            return await self._take(most, wait_seconds)
        except FAILURES as error:
            event(_LOG, logging.DEBUG, "subscription.rebuilt", durable=self._spec.durable, error=type(error).__name__)
            await self.close()
            await asyncio.sleep(PAUSE_SECONDS)
            return []

    async def close(self) -> None:
        """Forget the subscription; the consumer stays at the broker, and brings again what was not acknowledged."""
        inbox, self._inbox, self._wanted = self._inbox, None, 0
        if inbox is not None:
            try:
                await inbox.unsubscribe()
            except FAILURES as error:
                event(_LOG, logging.DEBUG, "subscription.not_closed", error=type(error).__name__)

    async def _open(self) -> None:
        if self._declares:
            await self._broker.context.add_consumer(self._spec.stream, self._spec.config())
        self._prefix = self._broker.new_inbox()
        self._arrived = asyncio.Queue()
        self._inbox = await self._broker.subscribe_raw(f"{self._prefix}.*", self._arrived.put)

    async def _ask(self, most: int, wait_seconds: float) -> None:
        self._request = f"{self._prefix}.{next(self._numbers)}"
        self._wanted = most
        self._expires = time.monotonic() + wait_seconds
        asked = {"batch": most, "expires": int(wait_seconds * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._spec.stream}.{self._spec.durable}"
        await self._broker.publish_raw(subject, json.dumps(asked).encode(), reply=self._request)

    async def _take(self, most: int, wait_seconds: float) -> list[Msg]:
        taken: list[Msg] = []
        async with asyncio.timeout(wait_seconds + STALL_SECONDS):
            while not taken and self._wanted > 0:
                self._sort(await self._arrived.get(), taken)
        while len(taken) < most and not self._arrived.empty():
            self._sort(self._arrived.get_nowait(), taken)
        return taken

    def _sort(self, message: Msg, taken: list[Msg]) -> None:
        """A message is taken; a status of the present request ends it, one of an earlier request is old news."""
        status = (message.headers or {}).get("Status")
        if status is None:
            taken.append(message)
            self._wanted -= 1
        elif message.subject == self._request and status != _HEARTBEAT:
            self._wanted = 0
            if status not in _REQUEST_ENDED or "Deleted" in (message.headers or {}).get("Description", ""):
                raise ConnectionError(f"the consumer {self._spec.durable} is not there ({status})")
