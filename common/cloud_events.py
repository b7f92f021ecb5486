"""CloudEvents in NATS's binary mode: attributes as headers, the body as it is."""

from datetime import UTC, datetime
from urllib.parse import quote

from common.tracing import traceparent


def headers(*, event_id: str, source: str, kind: str, subject: str, parent: str | None = None) -> dict[str, str]:
    """Headers of a protobuf message, with the trace that it belongs to: `parent`, or the current span."""
    told = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": source,
        "ce-type": kind,
        "ce-subject": quote(subject),
        "ce-time": datetime.now(UTC).isoformat(),
        "content-type": "application/protobuf",
    }
    trace = parent or traceparent()
    return told | {"traceparent": trace} if trace else told
