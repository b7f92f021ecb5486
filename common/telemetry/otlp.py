"""Where telemetry is sent by OTLP, by the variables of OpenTelemetry."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource

from common.ids import process_name

#: Seconds for the last spans, and for the last metrics, of a process that stops; a request waits as long for its
#: response.
LAST_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class SignalVariables:
    """Names of the variables that decide whether a kind of telemetry is sent."""

    #: Names the collector of this kind alone, instead of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    endpoint: str
    #: `none` switches the sending of this kind off.
    exporter: str


TRACES_VARIABLES = SignalVariables(endpoint="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", exporter="OTEL_TRACES_EXPORTER")
METRICS_VARIABLES = SignalVariables(endpoint="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", exporter="OTEL_METRICS_EXPORTER")


def is_sent(variables: SignalVariables, environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether the environment names a collector for this kind, and does not switch the kind off."""
    named = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get(variables.endpoint)
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get(variables.exporter) == "none"
    return bool(named) and not is_off


def resource(service: str) -> Resource:
    """Returns what describes this process in spans and metrics.

    `OTEL_RESOURCE_ATTRIBUTES` adds to it, and may name the instance otherwise than by host and process.
    """
    instance = Resource({"service.instance.id": process_name(service)})
    return instance.merge(Resource.create({"service.name": f"calotype-{service}"}))


def positive(text: str | None, default: float) -> float:
    """Returns the number of a variable; the default if it is missing, or no number of at least 1."""
    try:
        value = float(text or default)
    except ValueError:
        return default
    return value if 1 <= value < float("inf") else default
