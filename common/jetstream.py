"""NATS JetStream: a connection that comes back, streams that are declared again, and publishing that tells the truth.

The library's traps that are avoided here: `publish_async` never resolves on a server's error, reconnecting ends after
sixty tries by default, and `publish` writes into the headers that it is given.
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

from common.declarations import ConsumerSpec, StreamSpec
from common.errors import DependencyUnavailable
from common.health import Readiness
from common.logs import event
from common.loops import Stopped, pause_until
from common.nats_client import connected, is_refused

_LOG = logging.getLogger(__name__)
#: What a broker that is away, going or not set up yet looks like.
FAILURES = (NatsError, OSError, TimeoutError)
#: What the broker says of a message that is not in its stream (any more).
SEQUENCE_NOT_FOUND = 10057


class BrokerUnavailable(DependencyUnavailable):
    """The broker could not be asked, or did not confirm in time; whether it took the message is unknown."""


class MessageTooLarge(Exception):
    """More than the broker takes in one message: as it is, it can never be published."""


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """A message as its stream has it."""

    sequence: int
    stored_at: datetime
    body: bytes
    headers: Mapping[str, str]


class JetStream:
    """One connection of a process to the broker."""

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
        """Whether the broker can be reached now."""
        return bool(self._client.is_connected)

    @property
    def most_bytes(self) -> int:
        """How much a message may have at most, headers included, as the broker said last."""
        return int(self._client.max_payload)

    async def publish(
        self, subject: str, body: bytes, *, message_id: str, headers: Mapping[str, str], timeout: float = 5.0
    ) -> None:
        """Publish and wait for the broker's confirmation, once more after declaring streams anew.

        The same `message_id` within a stream's duplicate window is stored once. Raises `BrokerUnavailable`, and
        `MessageTooLarge`, which no other try changes.
        """
        told = {**headers, "Nats-Msg-Id": message_id}
        if (size := len(body) + _size(told)) > self.most_bytes:
            raise MessageTooLarge(f"{size} bytes are more than the broker's {self.most_bytes}.")
        for last in (False, True):
            if not self._client.is_connected:
                raise BrokerUnavailable("The broker is away.")
            try:
                await self.context.publish(subject, body, timeout=timeout, headers=dict(told))
            except FAILURES as error:
                if last:
                    raise BrokerUnavailable(f"The broker did not confirm: {type(error).__name__}.") from error
                await self.declare()
            else:
                return

    async def publish_core(self, subject: str, body: bytes) -> None:
        """Publish to whoever listens now; dropped while the broker is away."""
        if self._client.is_connected:
            await self._client.publish(subject, body)

    async def subscribe_core(self, subject: str, callback: Callable[[str, bytes], Awaitable[None]]) -> None:
        """Hear what is published from now on; survives reconnects, loses what came in between."""

        async def hear(message: Msg) -> None:
            await callback(message.subject, message.data)

        await self._client.subscribe(subject, cb=hear)

    def new_inbox(self) -> str:
        """A subject that nobody else uses."""
        return str(self._client.new_inbox())

    async def publish_raw(self, subject: str, body: bytes, *, reply: str) -> None:
        """Publish a request of the broker's own protocol; its answers come to `reply`."""
        await self._client.publish(subject, body, reply=reply)

    async def subscribe_raw(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Hear messages as the library has them; survives reconnects."""
        return await self._client.subscribe(subject, cb=callback)

    async def declare(self) -> bool:
        """Make streams and consumers as they should be; returns whether that worked."""
        async with self._declaring:
            try:
                for stream in self._streams:
                    await self._declare(stream)
                for consumer in self._consumers:
                    await self._declare_consumer(consumer)
            except FAILURES as error:
                event(_LOG, logging.WARNING, "streams.not_declared", error=type(error).__name__)
                self._tell(False, "streams are not declared yet")
                return False
            self._tell(True)
            return True

    async def _declare(self, spec: StreamSpec) -> None:
        wanted = spec.config()
        try:
            found = (await self.context.stream_info(spec.name)).config
        except NotFoundError:
            await self.context.add_stream(wanted)
            event(_LOG, logging.INFO, "stream.declared", stream=spec.name)
            return
        # Copies are added, never taken away: while they change, processes disagree about how many there should be.
        wanted.num_replicas = max(spec.replicas, found.num_replicas or 1)
        compared = ("subjects", "max_age", "max_bytes", "discard", "num_replicas")
        if any(getattr(found, name) != getattr(wanted, name) for name in compared):
            await self.context.update_stream(wanted)

    async def _declare_consumer(self, spec: ConsumerSpec) -> None:
        wanted = spec.config()
        try:
            found = (await self.context.consumer_info(spec.stream, spec.durable)).config
        except NotFoundError:
            found = None
        compared = ("filter_subject", "ack_wait", "max_ack_pending", "max_deliver")
        if found is None or any(getattr(found, name) != getattr(wanted, name) for name in compared):
            await self.context.add_consumer(spec.stream, wanted)

    def _tell(self, ok: bool, message: str = "") -> None:
        if self._ready is not None:
            self._ready.set("broker", ok, message)

    async def on_disconnect(self) -> None:
        """The connection broke."""
        self._tell(False, "the broker is away")

    async def on_reconnect(self) -> None:
        """The connection is back, perhaps to a broker that forgot everything."""
        await self.declare()

    async def sequences(self, stream: str) -> tuple[int, int]:
        """Sequences of the stream's oldest and newest message; of an empty one, the first is beyond the last."""
        state = (await self.context.stream_info(stream)).state
        return int(state.first_seq if state.messages else state.last_seq + 1), int(state.last_seq)

    async def stored(self, stream: str, sequence: int, *, subject: str) -> StoredMessage | None:
        """The first message at or after a sequence on subjects like that. Raises `BrokerUnavailable`."""
        try:
            found = await self.context.get_msg(stream, seq=sequence, subject=subject, next=True)
        except NotFoundError:
            return None
        except FAILURES as error:
            raise BrokerUnavailable(f"The broker did not answer: {type(error).__name__}.") from error
        assert found.seq is not None
        assert found.time is not None
        return StoredMessage(
            sequence=found.seq,
            stored_at=found.time,
            body=found.data or b"",
            headers={name: str(value) for name, value in (found.headers or {}).items()},
        )

    async def delete_stored(self, stream: str, sequence: int) -> None:
        """Take a message out of its stream; one that is not there is fine. Raises `BrokerUnavailable`."""
        try:
            await self.context.delete_msg(stream, sequence)
        except FAILURES as error:
            if getattr(error, "err_code", None) == SEQUENCE_NOT_FOUND:
                return
            raise BrokerUnavailable(f"The broker did not answer: {type(error).__name__}.") from error

    async def delete_up_to(self, stream: str, sequence: int) -> None:
        """Take all messages up to a sequence out of their stream."""
        await self.context.purge_stream(stream, seq=sequence + 1)

    async def ack_floor(self, stream: str, durable: str) -> int:
        """Stream sequence up to which a consumer has acknowledged everything."""
        info = await self.context.consumer_info(stream, durable)
        return int(info.ack_floor.stream_seq) if info.ack_floor else 0


def _size(headers: Mapping[str, str]) -> int:
    """What headers take on the wire, which the broker counts, and the library does not."""
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
    """Connect, for ever: a broker that is away at the start is waited for, one that is away later comes back.

    With a password the user is `name`, and answers come to subjects below `_INBOX_<name>`. With `tls`, nothing is shown
    to a server before its certificate for the URL's host was checked. `streams` and `consumers` are declared, again and
    again; a process without any relies on another's.

    Raises `Stopped` when `stop` is set before there was a connection.
    """
    broker: JetStream | None = None

    async def disconnected() -> None:
        if broker is not None:
            await broker.on_disconnect()

    async def reconnected() -> None:
        if broker is not None:
            await broker.on_reconnect()

    async def failed(error: Exception) -> None:
        # Time alone mends neither a credential nor a certificate.
        level = logging.ERROR if is_refused(error) or isinstance(error, ssl.SSLError) else logging.DEBUG
        event(_LOG, level, "broker.error", error=repr(error))

    client = await _connect(
        url,
        stop or asyncio.Event(),
        name=name,
        inbox_prefix=f"_INBOX_{name}",
        **_credentials(name, password),
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
        keeper = asyncio.create_task(_keep_declared(broker, leaving))
        try:
            yield broker
        finally:
            leaving.set()
            await keeper
    finally:
        await _close(client)


def _credentials(user: str, password: str | None) -> dict[str, str]:
    return {} if password is None else {"user": user, "password": password}


async def _close(client: Client) -> None:
    """Let go; a connection that breaks while its last bytes are flushed is closed all the same."""
    try:
        await client.close()
    except FAILURES as error:
        event(_LOG, logging.DEBUG, "broker.closed_in_pieces", error=type(error).__name__)


async def _connect(url: str, stop: asyncio.Event, **options: Any) -> Client:
    while True:
        try:
            # The library tries for ever by itself, in silence, when it is told to reconnect for ever.
            client = await connected(url, connect_timeout=2, max_reconnect_attempts=1, **options)
        except FAILURES as error:
            event(_LOG, logging.WARNING, "broker.awaited", error=type(error).__name__)
        else:
            client.options["max_reconnect_attempts"] = -1
            return client
        if await pause_until(stop, seconds=0.5):
            raise Stopped("The broker was away until the process was told to stop.")


async def _keep_declared(broker: JetStream, stop: asyncio.Event) -> None:
    """A wiped broker that kept its connection is found too."""
    while not await pause_until(stop, seconds=5):
        if broker.is_connected:
            await broker.declare()
