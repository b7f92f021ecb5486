"""The admin port of a process: `GET /metrics`, and health for probes; metrics also by OTLP, if wanted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from uvicorn.protocols.http.h11_impl import H11Protocol

from common import http_server
from common.admin_health import HealthProbes
from common.telemetry import metrics, registry
from common.telemetry.metrics import Instruments
from common.telemetry.otlp import METRICS_VARIABLES, is_sent

if TYPE_CHECKING:
    # Starlette takes memory, and only the gateway needs it.
    from starlette.types import Receive, Scope, Send

_LOG = logging.getLogger(__name__)
#: Open connections; a further one closes the oldest, so that a probe gets a response while others say nothing.
MAX_CONNECTIONS = 32
#: Longest time of a connection in seconds: each has one request, and a scrape takes milliseconds.
MAX_SECONDS = 20.0
#: Seconds between two measurements of the event loop's delay.
DELAY_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class AdminSettings:
    """Settings of the admin port, one field per `CALOTYPE_...` variable."""

    #: Address on which Prometheus metrics, and health for probes, are served, without authentication; unset, no port is
    #: opened.
    admin_listen: str | None = None


class MetricsApp:
    """The ASGI application of the admin port."""

    def __init__(self, *instruments: Instruments, health: HealthProbes | None = None) -> None:
        self._instruments = instruments
        self._health = health

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers `GET /metrics` and that of the health probes, and all other requests with 404."""
        path = scope["path"] if scope["method"] == "GET" else ""
        content_type, probed = "text/plain; charset=utf-8", self._health and self._health.response(path)
        status, body = probed or (404, b"This port serves GET /metrics, and no page or API.\n")
        if path == "/metrics":
            # Of several headers, the first counts.
            accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
            status, (body, content_type) = 200, self._scrape(accept.decode("latin-1"))
        headers = {"content-length": str(len(body)), "content-type": content_type, "connection": "close"}
        written = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": written})
        await send({"type": "http.response.body", "body": body})

    def collect(self) -> Iterator[Family]:
        """Returns the current values of all instruments."""
        for instruments in self._instruments:
            yield from instruments.collect()

    def _scrape(self, accept: str) -> tuple[bytes, str]:
        """Returns the body and its media type."""
        began = perf_counter()
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:
            # The library compares the versions in Accept, and fails if one is not a number.
            encode, content_type = choose_encoder("")
        body: bytes = encode(self)
        metrics.observe(registry.SCRAPE_SECONDS, perf_counter() - began)
        return body, content_type


class AdminConnection(H11Protocol):
    """A connection of the admin port: one of few, and not for long."""

    max_connections = MAX_CONNECTIONS
    max_seconds = MAX_SECONDS
    _timer: asyncio.TimerHandle | None = None
    _opened_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time limit; closes the oldest connection if there is one too many."""
        super().connection_made(transport)
        self._opened_at = self.loop.time()
        self._timer = self.loop.call_later(self.max_seconds, transport.abort)
        if len(self.connections) > self.max_connections:
            oldest: Any = min(self.connections, key=lambda connection: getattr(connection, "_opened_at", 0.0))
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the time limit."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)


@asynccontextmanager
async def serving(
    service: str, settings: AdminSettings, *, more: Sequence[Instruments] = (), health: HealthProbes | None = None
) -> AsyncIterator[None]:
    """Measures the process, serves its metrics if an address is set, and sends them if a collector is, in the block.

    Enter it before the work that it shows, so that the work can be watched while it drains. Raises `ConfigError` and
    `StartError` for an address that cannot be used.
    """
    opened = None
    if settings.admin_listen is not None:
        opened = http_server.bind(settings.admin_listen, setting="CALOTYPE_ADMIN_LISTEN")
    elsewhere = {name for instruments in more for name in instruments.names}
    declared = [one for one in metrics.DECLARED.values() if service in one.services and one.name not in elsewhere]
    metrics.PROCESS.add(*declared)
    metrics.PROCESS.add_process()
    tasks = [asyncio.create_task(measure_loop_delay(), name="event-loop delay")]
    stop = asyncio.Event()
    app = MetricsApp(metrics.PROCESS, *more, health=health)
    if opened is not None:
        server = http_server.serve(
            app, opened, stop=stop, protocol=AdminConnection, drain_seconds=1, keep_alive_seconds=5
        )
        tasks.append(asyncio.create_task(server, name="admin port"))
        http_server.log_listening("admin.opened", opened)
    try:
        async with _sending(service, app):
            yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                _LOG.error("admin.failed", exc_info=result)
        if opened is not None:
            opened.close()


def _sending(service: str, app: MetricsApp) -> AbstractAsyncContextManager[None]:
    """Sends metrics in the block if the environment names a collector; only then the libraries for it are loaded."""
    if not is_sent(METRICS_VARIABLES):
        return nullcontext()
    from common.telemetry.metric_sender import sending_metrics

    return sending_metrics(service, app.collect)


async def measure_loop_delay() -> None:
    """Measures how much later than due the event loop runs a timer, until it is canceled."""
    while True:
        due = perf_counter() + DELAY_SECONDS
        await asyncio.sleep(DELAY_SECONDS)
        metrics.observe(registry.EVENT_LOOP_DELAY_SECONDS, max(perf_counter() - due, 0.0))
