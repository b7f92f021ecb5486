"""NATS JetStream: a connection that reconnects, streams that are declared anew, and confirmed publishing.

Traps of the NATS library that are avoided here: `publish_async` never resolves on an error of the server, reconnecting
ends after sixty attempts by default, and `publish` modifies the headers that it gets.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from common.declarations import ConsumerSpec, StreamSpec, declare_consumer, declare_stream
from common.errors import DependencyUnavailable
from common.health import Readiness
from common.logs import event
from common.loops import Stopped, pause_until
from common.nats_client import connected, is_refused

_LOG = logging.getLogger(__name__)
#: Errors of a broker that is unreachable, shutting down, or not set up yet.
FAILURES = (NatsError, OSError, TimeoutError)
#: Error code of the broker: the message is not in the stream (any more).
SEQUENCE_NOT_FOUND = 10057


class BrokerUnavailable(DependencyUnavailable):
    """The broker was unreachable or did not confirm in time; it may have stored the message."""


class MessageTooLarge(Exception):
    """The message exceeds the broker's size limit and can never be published."""


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """A message in a stream."""

    #: Position in the stream, from 1.
    sequence: int
    #: When the broker stored it.
    stored_at: datetime
    #: Payload, as published.
    body: bytes
    #: Headers, as published.
    headers: Mapping[str, str]


class JetStream:
    """The connection of a process to the broker."""

    def __init__(
        self,
        client: Client,
        streams: Sequence[StreamSpec],
        consumers: Sequence[ConsumerSpec],
        ready: Readiness | None,
    ) -> None:
        self._client = client
        self._streams = streams
        self._consumers = consumers
        self._ready = ready
        self._declaring = asyncio.Lock()
        self.context: JetStreamContext = client.jetstream(timeout=5)

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up now."""
        return bool(self._client.is_connected)

    @property
    def max_message_bytes(self) -> int:
        """Size limit of a message in bytes, headers included, as the broker announced it last."""
        return int(self._client.max_payload)

    async def publish(
        self, subject: str, body: bytes, *, message_id: str, headers: Mapping[str, str], timeout: float = 5.0
    ) -> None:
        """Publishes and waits up to `timeout` seconds for the confirmation; tries twice, after declaring streams.

        Messages with the same `message_id` within a stream's duplicate window are stored once. Raises
        `BrokerUnavailable`, and `MessageTooLarge`, for which a retry is useless.
        """
        all_headers = {**headers, "Nats-Msg-Id": message_id}
        if (size := len(body) + _size(all_headers)) > self.max_message_bytes:
            raise MessageTooLarge(f"The message has {size} bytes; the broker's limit is {self.max_message_bytes}.")
        for is_last in (False, True):
            if not self._client.is_connected:
                raise BrokerUnavailable("The broker is not connected.")
            try:
                await self.context.publish(subject, body, timeout=timeout, headers=dict(all_headers))
            except FAILURES as error:
                if is_last:
                    raise BrokerUnavailable(f"The broker did not confirm: {type(error).__name__}.") from error
                await self.declare()
            else:
                return

    async def publish_core(self, subject: str, body: bytes, *, headers: Mapping[str, str] | None = None) -> None:
        """Publishes without a confirmation, to the current subscribers and to the stream of the subject, if any.

        The message is dropped while there is no connection. Raises `FAILURES`.
        """
        if self._client.is_connected:
            await self._client.publish(subject, body, headers=dict(headers) if headers else None)

    async def subscribe_core(self, subject: str, callback: Callable[[str, bytes], Awaitable[None]]) -> None:
        """Calls back with subject and body of each message from now on; after a reconnect, without those in between."""

        async def on_message(message: Msg) -> None:
            await callback(message.subject, message.data)

        await self._client.subscribe(subject, cb=on_message)

    def new_inbox(self) -> str:
        """Returns a new unique subject for responses."""
        return str(self._client.new_inbox())

    async def publish_raw(self, subject: str, body: bytes, *, reply: str) -> None:
        """Publishes a request of the broker's own protocol; the responses arrive at `reply`."""
        await self._client.publish(subject, body, reply=reply)

    async def subscribe_raw(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Subscribes to messages in the form of the NATS library; survives reconnects."""
        return await self._client.subscribe(subject, cb=callback)

    async def declare(self) -> bool:
        """Creates or updates streams and consumers as declared; returns whether that succeeded."""
        async with self._declaring:
            try:
                for stream in self._streams:
                    await declare_stream(self.context, stream)
                for consumer in self._consumers:
                    await declare_consumer(self.context, consumer)
            except FAILURES as error:
                event(_LOG, logging.WARNING, "streams.not_declared", reason=type(error).__name__)
                self._set_ready(False, "streams are not declared yet")
                return False
            self._set_ready(True)
            return True

    def _set_ready(self, ok: bool, message: str = "") -> None:
        if self._ready is not None:
            self._ready.set("broker", ok, message)

    async def on_disconnect(self) -> None:
        """Reports that the connection is lost."""
        self._set_ready(False, "the broker is not connected")

    async def on_reconnect(self) -> None:
        """Declares everything again: the broker may have lost its data."""
        await self.declare()

    async def sequences(self, stream: str) -> tuple[int, int]:
        """Returns the sequences of the oldest and the newest message; first > last in an empty stream."""
        state = (await self.context.stream_info(stream)).state
        return int(state.first_seq if state.messages else state.last_seq + 1), int(state.last_seq)

    async def stored(self, stream: str, sequence: int, *, subject: str) -> StoredMessage | None:
        """Returns the first message at or after a sequence on a subject, or None. Raises `BrokerUnavailable`."""
        try:
            message = await self.context.get_msg(stream, seq=sequence, subject=subject, next=True)
        except NotFoundError:
            return None
        except FAILURES as error:
            raise BrokerUnavailable(f"The broker did not respond: {type(error).__name__}.") from error
        assert message.seq is not None
        assert message.time is not None
        return StoredMessage(
            sequence=message.seq,
            stored_at=message.time,
            body=message.data or b"",
            headers={name: str(value) for name, value in (message.headers or {}).items()},
        )

    async def delete_stored(self, stream: str, sequence: int) -> None:
        """Deletes a message from its stream, if it is there. Raises `BrokerUnavailable`."""
        try:
            await self.context.delete_msg(stream, sequence)
        except FAILURES as error:
            if getattr(error, "err_code", None) == SEQUENCE_NOT_FOUND:
                return
            raise BrokerUnavailable(f"The broker did not respond: {type(error).__name__}.") from error

    async def delete_up_to(self, stream: str, sequence: int) -> None:
        """Deletes all messages of a stream up to and including a sequence."""
        await self.context.purge_stream(stream, seq=sequence + 1)

    async def ack_floor(self, stream: str, durable: str) -> int:
        """Returns the stream sequence up to which a consumer has acknowledged every message; 0 for none."""
        info = await self.context.consumer_info(stream, durable)
        return int(info.ack_floor.stream_seq) if info.ack_floor else 0


def _size(headers: Mapping[str, str]) -> int:
    """Returns the bytes of headers on the wire, which the broker counts and the NATS library does not."""
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())


@asynccontextmanager
async def connect(
    url: str,
    *,
    name: str,
    password: str | None = None,
    tls: ssl.SSLContext | None = None,
    streams: Iterable[StreamSpec] = (),
    consumers: Iterable[ConsumerSpec] = (),
    ready: Readiness | None = None,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[JetStream]:
    """Connects to the broker, and reconnects without limit; waits for a broker that is unreachable at the start.

    With a password, `name` is the user name. Responses arrive on subjects below `_INBOX_<name>`. With `tls`, the
    client sends no data before it has verified the server's certificate for the URL's host. `streams` and `consumers`
    are declared now and every five seconds; a process without any relies on those that other processes declare.

    Raises `Stopped` when `stop` is set before there is a connection.
    """
    broker: JetStream | None = None

    async def disconnected() -> None:
        if broker is not None:
            await broker.on_disconnect()

    async def reconnected() -> None:
        if broker is not None:
            await broker.on_reconnect()

    async def failed(error: Exception) -> None:
        # An operator must mend a credential or a certificate; other errors pass.
        level = logging.ERROR if is_refused(error) or isinstance(error, ssl.SSLError) else logging.DEBUG
        event(_LOG, level, "broker.failed", reason=repr(error))

    client = await _connect(
        url,
        stop or asyncio.Event(),
        name=name,
        inbox_prefix=f"_INBOX_{name}",
        **({} if password is None else {"user": name, "password": password}),
        tls=tls,
        reconnect_time_wait=0.25,
        ping_interval=5,
        max_outstanding_pings=2,
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        error_cb=failed,
    )
    broker = JetStream(client, tuple(streams), tuple(consumers), ready)
    leaving = asyncio.Event()
    try:
        await broker.declare()
        declaring = asyncio.create_task(_keep_declared(broker, leaving))
        try:
            yield broker
        finally:
            leaving.set()
            await declaring
    finally:
        await _close(client)


async def _close(client: Client) -> None:
    """Closes the client, also when the connection breaks while the last bytes are flushed."""
    try:
        await client.close()
    except FAILURES as error:
        event(_LOG, logging.DEBUG, "broker.close_interrupted", reason=type(error).__name__)


async def _connect(url: str, stop: asyncio.Event, **options: Any) -> Client:
    while True:
        try:
            # With unlimited reconnects from the start, the library would retry the first connection silently.
            client = await connected(url, connect_timeout=2, max_reconnect_attempts=1, **options)
        except FAILURES as error:
            event(_LOG, logging.WARNING, "broker.awaited", reason=type(error).__name__)
        else:
            client.options["max_reconnect_attempts"] = -1
            return client
        if await pause_until(stop, seconds=0.5):
            raise Stopped("The process was stopped before the broker was reachable.")


async def _keep_declared(broker: JetStream, stop: asyncio.Event) -> None:
    """Declares everything every 5 seconds: a broker may lose its data without losing the connection."""
    while not await pause_until(stop, seconds=5):
        if broker.is_connected:
            await broker.declare()
