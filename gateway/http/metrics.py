"""The gateway's own Prometheus metrics; `common.admin_port` serves them with those of the process."""

from common.telemetry import metrics, registry
from common.telemetry.metrics import Instruments
from gateway.job_service.concurrency_limit import ConcurrencyLimiter
from gateway.openai_images.public_images import PublicImageReader
from gateway.requests.body_reader import BodyReader
from gateway.streams.sse import Streams


class Metrics:
    """The metrics of one gateway in a separate registry; gauges are read when Prometheus scrapes."""

    def __init__(
        self, *, streams: Streams, bodies: BodyReader, images: PublicImageReader, limiter: ConcurrencyLimiter
    ) -> None:
        #: What is exported.
        self.instruments = Instruments()
        self.instruments.add(registry.HTTP_REQUEST_SECONDS)
        read = self.instruments.read
        read(registry.EVENT_STREAMS, lambda: streams.open)
        read(registry.REQUEST_BODY_BYTES, lambda: bodies.held)
        read(registry.PICTURE_BYTES, lambda: images.held)
        read(registry.JOB_SERVICE_CALLS, lambda: limiter.active, "under_way")
        read(registry.JOB_SERVICE_CALLS, lambda: limiter.waiting, "waiting")

    def record_response(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Records the start of a response; `route` is the path template, or empty where none matched.

        Unknown methods and paths share one label, as clients could create any number of them.
        """
        method_label = method if method in registry.METHOD.values else metrics.OTHER
        self.instruments.observe(registry.HTTP_REQUEST_SECONDS, seconds, method_label, route or "unknown", str(status))
