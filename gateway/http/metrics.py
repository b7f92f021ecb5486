"""The gateway's Prometheus metrics: `GET /metrics` on the admin port."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.job_service.concurrency_limit import ConcurrencyLimiter
from gateway.openai_images.public_images import PublicImageReader
from gateway.requests.body_reader import BodyReader
from gateway.streams.sse import Streams

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
#: In seconds. Most responses take milliseconds; `Prefer: wait` holds one for up to a minute, OpenAI's paths for ten.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


class Metrics:
    """The metrics of one gateway in a separate registry; gauges are read when Prometheus scrapes."""

    def __init__(
        self, *, streams: Streams, bodies: BodyReader, images: PublicImageReader, limiter: ConcurrencyLimiter
    ) -> None:
        self._registry = CollectorRegistry()
        self._durations = Histogram(
            "calotype_http_request_duration_seconds",
            "Seconds from the arrival of a request to the start of its response.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._gauge("calotype_event_streams", "Open event streams.", lambda: streams.open)
        self._gauge("calotype_request_body_bytes", "Bytes of request bodies in memory.", lambda: bodies.held)
        self._gauge("calotype_picture_bytes", "Bytes of images in memory for base64 responses.", lambda: images.held)
        calls = Gauge(
            "calotype_job_service_calls",
            "Calls to job-service, except streams: under way, or waiting for a slot.",
            ("state",),
            registry=self._registry,
        )
        calls.labels("under_way").set_function(lambda: limiter.active)
        calls.labels("waiting").set_function(lambda: limiter.waiting)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def record_response(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Records the start of a response; `route` is the path template, or empty where none matched.

        Unknown methods and paths share one label, as clients could create any number of them.
        """
        method_label = method if method in METHODS else "other"
        self._durations.labels(method_label, route or "unknown", str(status)).observe(seconds)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application of the admin port, which has only `GET /metrics`."""
        response: Response = PlainTextResponse("This port serves only GET /metrics.\n", status_code=404)
        if (scope["method"], scope["path"]) == ("GET", "/metrics"):
            response = self._scrape(Headers(scope=scope).get("accept", ""))
        await response(scope, receive, send)

    def _scrape(self, accept: str) -> Response:
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:
            # The library compares the versions in Accept, and fails if one is not a number.
            encode, content_type = choose_encoder("")
        return Response(encode(self._registry), headers={"Content-Type": content_type})

    def _gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        Gauge(name, description, registry=self._registry).set_function(read)
