"""Pulling messages from a JetStream consumer: at once when there are any; a stalled subscription is rebuilt.

The library's `fetch` waits for a whole batch until its timeout, and can leave requests behind that swallow the next
message. This module uses the same protocol, but keeps every message that arrives, whichever request it belongs to.
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
#: Statuses with which the server ends a request: no messages, expired, or the consumer changed.
_REQUEST_ENDED = ("404", "408", "409")
_HEARTBEAT = "100"
#: Seconds after the expiry of a request at which it counts as lost by the server.
STALL_SECONDS = 1.0
#: Seconds between a failure and the next attempt.
PAUSE_SECONDS = 0.2


class Subscription:
    """Pulls from one consumer; rebuilds itself whenever the broker, the stream or the consumer was missing.

    With `declares` False, it does not declare its consumer, but waits until another process has.
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

    async def fetch(self, limit: int, *, wait_seconds: float) -> list[Msg]:
        """Returns up to `limit` messages, as soon as there is one; none after the wait or while the broker is away."""
        try:
            if self._inbox is None:
                await self._open()
            if self._wanted <= 0 or time.monotonic() >= self._expires:
                await self._request_messages(limit, wait_seconds)
            return await self._receive(limit, wait_seconds)
        except FAILURES as error:
            event(_LOG, logging.DEBUG, "subscription.rebuilt", durable=self._spec.durable, reason=type(error).__name__)
            await self.close()
            await asyncio.sleep(PAUSE_SECONDS)
            return []

    async def close(self) -> None:
        """Ends the subscription; the consumer stays at the broker and delivers unacknowledged messages again."""
        inbox, self._inbox, self._wanted = self._inbox, None, 0
        if inbox is not None:
            try:
                await inbox.unsubscribe()
            except FAILURES as error:
                event(_LOG, logging.DEBUG, "subscription.not_closed", reason=type(error).__name__)

    async def _open(self) -> None:
        if self._declares:
            await self._broker.context.add_consumer(self._spec.stream, self._spec.config())
        self._prefix = self._broker.new_inbox()
        self._arrived = asyncio.Queue()
        self._inbox = await self._broker.subscribe_raw(f"{self._prefix}.*", self._arrived.put)

    async def _request_messages(self, limit: int, wait_seconds: float) -> None:
        self._request = f"{self._prefix}.{next(self._numbers)}"
        self._wanted = limit
        self._expires = time.monotonic() + wait_seconds
        request = {"batch": limit, "expires": int(wait_seconds * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._spec.stream}.{self._spec.durable}"
        await self._broker.publish_raw(subject, json.dumps(request).encode(), reply=self._request)

    async def _receive(self, limit: int, wait_seconds: float) -> list[Msg]:
        received: list[Msg] = []
        async with asyncio.timeout(wait_seconds + STALL_SECONDS):
            while not received and self._wanted > 0:
                self._accept(await self._arrived.get(), received)
        while len(received) < limit and not self._arrived.empty():
            self._accept(self._arrived.get_nowait(), received)
        return received

    def _accept(self, message: Msg, received: list[Msg]) -> None:
        """Appends a message; a status ends the current request, or is ignored when it belongs to an earlier one."""
        status = (message.headers or {}).get("Status")
        if status is None:
            received.append(message)
            self._wanted -= 1
        elif message.subject == self._request and status != _HEARTBEAT:
            self._wanted = 0
            if status not in _REQUEST_ENDED or "Deleted" in (message.headers or {}).get("Description", ""):
                raise ConnectionError(f"the consumer {self._spec.durable} does not exist ({status})")
