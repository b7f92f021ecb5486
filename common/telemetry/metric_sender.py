"""Sends the metrics of a process by OTLP at intervals; what the collector does not take is newer the next time."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from prometheus_client import Metric as Family

from common.logs import event
from common.telemetry import metrics, registry
from common.telemetry.metric_points import metrics_data
from common.telemetry.otlp import LAST_SECONDS, METRICS_VARIABLES, is_sent, positive, resource

_LOG = logging.getLogger(__name__)
#: Seconds between two requests, unless `OTEL_METRIC_EXPORT_INTERVAL` names milliseconds.
INTERVAL_SECONDS = 60.0
#: Series of one request. A collector takes 4 MiB; a histogram has about 0.5 KiB.
MAX_SERIES = 2_000


@asynccontextmanager
async def sending_metrics(service: str, collect: Callable[[], Iterable[Family]]) -> AsyncIterator[None]:
    """Sends what `collect` returns until the block ends, if the environment names an OTLP collector.

    The last values are sent at the end, for up to `LAST_SECONDS`.
    """
    exporter = _exporter() if is_sent(METRICS_VARIABLES) else None
    if exporter is None:
        yield
        return
    sender = _MetricSender(service, collect, exporter)
    task = asyncio.create_task(sender.run(), name="metrics by OTLP")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sender.close()


class _MetricSender:
    def __init__(self, service: str, collect: Callable[[], Iterable[Family]], exporter: OTLPMetricExporter) -> None:
        self._collect, self._exporter = collect, exporter
        self._resource, self._began_ns = resource(service), time.time_ns()
        self._interval = positive(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL"), INTERVAL_SECONDS * 1000) / 1000

    async def run(self) -> None:
        """Sends at each interval, until it is canceled."""
        while True:
            await asyncio.sleep(self._interval)
            await self._send()

    async def close(self) -> None:
        """Sends the last values, and lets go of the collector."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._send()
        # Ends a request that is still under way.
        await asyncio.to_thread(self._exporter.shutdown)

    async def _send(self) -> None:
        outcome = "failed"
        try:
            # Here and not in the thread: gauges look at what the event loop changes.
            families, now_ns = [*self._collect()], time.time_ns()
            if await asyncio.to_thread(self._export, families, now_ns) is MetricExportResult.SUCCESS:
                outcome = "sent"
        except Exception as error:  # noqa: BLE001 - whatever the library raises costs one request, and not the process
            event(_LOG, logging.ERROR, "metrics.not_exported", reason=str(error))
        finally:
            metrics.count(registry.TELEMETRY_REQUESTS, "metrics", outcome)

    def _export(self, families: Sequence[Family], now_ns: int) -> MetricExportResult:
        data = metrics_data(families, resource=self._resource, began_ns=self._began_ns, now_ns=now_ns)
        return self._exporter.export(data)


def _exporter() -> OTLPMetricExporter | None:
    try:
        return OTLPMetricExporter(timeout=LAST_SECONDS, max_export_batch_size=MAX_SERIES)
    except Exception as error:  # noqa: BLE001 - whatever the library raises for a wrong variable must stop no service
        event(_LOG, logging.ERROR, "metrics.not_exported", reason=str(error))
    return None
