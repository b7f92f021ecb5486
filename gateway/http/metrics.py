"""What the gateway counts and shows, as Prometheus reads it: `GET /metrics` on the admin port."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.job_service.concurrency_limit import ConcurrencyLimiter
from gateway.openai_images.pictures import PictureReader
from gateway.requests.body_reader import BodyReader
from gateway.streams.sse import Streams

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
#: In seconds. Most answers take milliseconds; `Prefer: wait` holds one for a minute, the OpenAI shape for ten.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


class Metrics:
    """The metrics of one gateway, with a registry of its own; gauges are read when somebody scrapes."""

    def __init__(
        self, *, streams: Streams, bodies: BodyReader, pictures: PictureReader, admission: ConcurrencyLimiter
    ) -> None:
        self._registry = CollectorRegistry()
        self._answers = Histogram(
            "calotype_http_request_duration_seconds",
            "Time from a request to the beginning of its answer.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._gauge("calotype_event_streams", "Event streams that are open.", lambda: streams.open)
        self._gauge("calotype_request_body_bytes", "Bytes of requests' bodies in memory.", lambda: bodies.held)
        self._gauge("calotype_picture_bytes", "Bytes of pictures in memory, to be answered.", lambda: pictures.held)
        calls = Gauge(
            "calotype_job_service_calls",
            "Calls to job-service, but for streams: under way, or waiting for their turn.",
            ("state",),
            registry=self._registry,
        )
        calls.labels("under_way").set_function(lambda: admission.under_way)
        calls.labels("waiting").set_function(lambda: admission.waiting)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def answered(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer that begins. `route` is the template of the path, or empty.

        Clients choose methods and paths: a label for each would be one without end.
        """
        known = method if method in METHODS else "other"
        self._answers.labels(known, route or "unknown", str(status)).observe(seconds)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be the application of the admin port: `GET /metrics`, and nothing else."""
        response: Response = PlainTextResponse("Only GET /metrics is here.\n", status_code=404)
        if (scope["method"], scope["path"]) == ("GET", "/metrics"):
            response = self._scraped(Headers(scope=scope).get("accept", ""))
        await response(scope, receive, send)

    def _scraped(self, accept: str) -> Response:
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:
            # The library compares versions, and one may be no number.
            encode, content_type = choose_encoder("")
        return Response(encode(self._registry), headers={"Content-Type": content_type})

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(name, text, registry=self._registry).set_function(read)
