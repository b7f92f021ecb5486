"""CloudEvents in the binary mode of its NATS binding: attributes are headers, the body is the plain message."""

from datetime import UTC, datetime
from urllib.parse import quote

from common.tracing import traceparent


def headers(*, event_id: str, source: str, kind: str, subject: str, parent: str | None = None) -> dict[str, str]:
    """Returns the headers of a protobuf message.

    `parent` is the W3C traceparent of the message's trace; None stands for the current span.
    """
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": source,
        "ce-type": kind,
        "ce-subject": quote(subject),
        "ce-time": datetime.now(UTC).isoformat(),
        "content-type": "application/protobuf",
    }
    trace = parent or traceparent()
    return attributes | {"traceparent": trace} if trace else attributes
