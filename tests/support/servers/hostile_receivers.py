"""Receivers of webhooks as nobody wants them, on this machine, and what shows how far a sender has come with one."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from services.notifier.adapters.connections import trusted_certificates
from tests.support.patience import PATIENCE
from tests.support.security.certificates import Authority, Leaf
from tests.support.servers.tcp_servers import tcp_server

#: SO_LINGER with no time to linger: closing sends RST in place of FIN.
_RESET = struct.pack("ii", 1, 0)
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Receiver:
    """A receiver that runs, and what came to it."""

    port: int = 0
    #: Head and body of each request.
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    connections: int = 0
    #: Bytes of responses that the operating system took.
    sent: int = 0

    def url(self, host: str = "receiver.test", *, scheme: str = "http", path: str = "/hook") -> str:
        """Where to post to."""
        return f"{scheme}://{host}:{self.port}{path}"


#: Serves one connection of a receiver.
Behaviour = Callable[[Receiver, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(
    behave: Behaviour, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    """A receiver; at the end nothing of it is left. Raises `OSError` for a host that this machine has not."""
    running = Receiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.connections += 1
        await behave(running, reader, writer)

    async with tcp_server(serve, host=host, tls=tls) as running.port:
        yield running


async def _request(running: Receiver, reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n") if b": " in line)
    body = await reader.readexactly(int(lines.get(b"content-length", b"0")))
    running.requests.append((head, body))


def answers(response: bytes, *, then: str = "close") -> Behaviour:
    """Reads the request and gives a response; then closes, hangs, or resets the connection."""

    async def behave(running: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(running, reader)
        writer.write(response)
        await writer.drain()
        if then == "hang":
            await asyncio.Event().wait()
        if then == "reset":
            reset(writer)

    return behave


def repeats(head: bytes, part: bytes, *, pause: float = 0.0) -> Behaviour:
    """Reads the request, sends the head, and then the part over and over, for as long as somebody listens."""

    async def behave(running: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(running, reader)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.transport.set_write_buffer_limits(high=0)  # type: ignore[attr-defined]
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            running.sent += len(part)
            await asyncio.sleep(pause)

    return behave


async def hangs(running: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts the connection, and reads and sends nothing."""
    await asyncio.Event().wait()


async def resets(running: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Resets the connection at once."""
    reset(writer)


async def closes(running: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes the connection at once."""


async def greets(running: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first, as servers of other protocols do."""
    writer.write(b"220 mail.test ESMTP\r\n")
    await writer.drain()
    await reader.read()


def reset(writer: asyncio.StreamWriter) -> None:
    """Resets a connection."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class Sniffer:
    """Listens at an address and accepts nothing: whoever connects is found in its queue."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]

    def came(self) -> int:
        """How many connections were made since the last call."""
        count = 0
        with suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count


@contextmanager
def sniffer(host: str = "127.0.0.1") -> Iterator[Sniffer]:
    """A sniffer on a free port. Raises `OSError` for a host that this machine has not."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        listener.listen()
        listener.setblocking(False)
        yield Sniffer(listener)


@contextmanager
def black_hole() -> Iterator[int]:
    """A port of 127.0.0.1 at which connections are neither made nor refused: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


class Names:
    """A resolver of a test's own: the n-th question gets the n-th answer, then the last again."""

    def __init__(self, *found: Sequence[str] | Exception) -> None:
        self._found = found or (["127.0.0.1"],)
        self.requested: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.requested.append(host)
        found = self._found[min(len(self.requested), len(self._found)) - 1]
        if isinstance(found, Exception):
            raise found
        return found


class Wire(httpcore.AsyncNetworkBackend):
    """Opens connections as they are, and shows how far the sender has come with them."""

    def __init__(self) -> None:
        #: Addresses to which a connection was tried.
        self.tried: list[str] = []
        #: What was received, encrypted as it came.
        self.received = b""
        self._moved = asyncio.Event()
        self._waits_for_more = False
        self._is_connecting = False
        self._is_writing = False

    async def until_connecting(self) -> None:
        """Waits until the sender waits for a connection."""
        await self._until(lambda: self._is_connecting)

    async def until_writing(self) -> None:
        """Waits until the sender writes what the other side does not take."""
        await self._until(lambda: self._is_writing)

    async def until_waiting(self, *, after: bytes = b"") -> None:
        """Waits until the sender has received so much, and waits for more."""
        await self._until(lambda: self._waits_for_more and after in self.received)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                self._moved.clear()
                await self._moved.wait()

    def moves(self, *, connecting: bool = False, waiting: bool = False, writing: bool = False) -> None:
        """Something happened."""
        self._is_connecting, self._waits_for_more, self._is_writing = connecting, waiting, writing
        self._moved.set()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.tried.append(host)
        self.moves(connecting=True)
        stream = await httpcore.AnyIOBackend().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, wire: Wire) -> None:
        self._stream = stream
        self._wire = wire

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._wire.moves(waiting=True)
        received = await self._stream.read(max_bytes, timeout)
        self._wire.received += received
        self._wire.moves()
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._wire.moves(writing=len(buffer) > 1024 * 1024)
        await self._stream.write(buffer, timeout)
        self._wire.moves()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self._wire.moves(waiting=True)
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._wire)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class LoopClock:
    """The clock of the running loop, which a test can put forward: a deadline passes when it is to, and not before."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._ahead, self._time = 0.0, loop.time
        loop.time = lambda: self._time() + self._ahead  # type: ignore[method-assign]

    def pass_by(self, seconds: float) -> None:
        """Put it forward."""
        self._ahead += seconds


def served_with(leaf: Leaf) -> ssl.SSLContext:
    """The TLS of a receiver with a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.certificate, leaf.key)
    return context


def trusting(authority: Authority) -> ssl.SSLContext:
    """The TLS of the notifier with an authority of one's own."""
    return trusted_certificates(authority.file)


def expired(authority: Authority, leaf: Leaf, name: str) -> Leaf:
    """A certificate of the same key whose time is over; replaces the file."""
    key = serialization.load_pem_private_key(leaf.key.read_bytes(), password=None)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, authority.name)]))
        .public_key(key.public_key())  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    leaf.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return leaf
