"""Bodies of deliveries, and the `data` of events that are not about jobs."""

import json
from datetime import UTC, datetime
from typing import Any

from common.ids import prefixed
from services.notifier.domain.endpoints import Endpoint
from services.notifier.domain.health import EndpointHealth

#: Prefixes of written ids: endpoints, and deliveries (the header `webhook-id`).
WEBHOOK, MESSAGE = "wh", "msg"


def body(event_type: str, occurred_at: datetime, data: str) -> bytes:
    """Returns the body of a request to a receiver; `data` is JSON."""
    return f'{{"type":{json.dumps(event_type)},"timestamp":{json.dumps(_time(occurred_at))},"data":{data}}}'.encode()


def notice_data(endpoint: Endpoint) -> str:
    """Returns the `data` of a change of health, as JSON."""
    webhook = {"id": prefixed(WEBHOOK, endpoint.id), "url": endpoint.url, "description": endpoint.description}
    return json.dumps({"webhook": webhook, "health": _health(endpoint.health)})


def test_data(endpoint: Endpoint) -> str:
    """Returns the `data` of a test, as JSON."""
    return json.dumps({"webhook_id": prefixed(WEBHOOK, endpoint.id), "message": "A test of this webhook."})


def _health(health: EndpointHealth) -> dict[str, Any]:
    return {
        "state": health.state,
        "failing_since": _time(health.failing_since),
        "will_disable_at": _time(health.will_disable_at),
        "last_error": health.last_error,
        "last_status": health.last_status,
        "disabled_reason": health.disabled_reason,
        "disabled_at": _time(health.disabled_at),
        "next_attempt_at": _time(health.blocked_until) if health.is_open else None,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
