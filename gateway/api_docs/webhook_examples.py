"""Examples of the webhook calls."""

from typing import Any

_WEBHOOK_ID = "wh_0193a6b0e4f57081929394959697989a"
_DELIVERY_ID = "msg_0193a6b0f5067192a3b4c5d6e7f80912"
_SECRET = "whsec_bG9uZyBlbm91Z2ggdG8gYmUgYW4gZXhhbXBsZSEhISE="  # noqa: S105 - an example

CREATE_WEBHOOK: dict[str, Any] = {
    "url": "https://shop.example/hooks/calotype",
    "description": "orders",
    "event_types": ["job.completed", "job.failed"],
}
UPDATE_WEBHOOK: dict[str, Any] = {"enabled": False}
ROTATE_SECRET: dict[str, Any] = {"grace_seconds": 3600}
REDELIVER_RANGE: dict[str, Any] = {"after": "2026-01-31T00:00:00Z", "before": "2026-01-31T12:00:00Z"}
_SECRETS = [{"created_at": "2026-01-31T09:00:00.000000Z", "expires_at": None}]
WEBHOOK: dict[str, Any] = {
    "id": _WEBHOOK_ID,
    **CREATE_WEBHOOK,
    "signature_scheme": "v1",
    "public_keys": [],
    "enabled": True,
    "health": {
        "state": "failing",
        "failing_since": "2026-01-31T12:00:03.000000Z",
        "will_disable_at": "2026-02-05T12:00:03.000000Z",
        "last_error": "status",
        "last_status": 500,
        "disabled_reason": None,
        "disabled_at": None,
        "next_attempt_at": None,
    },
    "secrets": _SECRETS,
    "created_at": "2026-01-31T09:00:00.000000Z",
    "updated_at": "2026-01-31T09:00:00.000000Z",
}
CREATED_WEBHOOK: dict[str, Any] = {
    **WEBHOOK,
    "health": {**dict.fromkeys(WEBHOOK["health"]), "state": "healthy"},
    "secret": _SECRET,
}
_DISABLED: dict[str, Any] = {
    **WEBHOOK,
    "enabled": False,
    "health": {
        **dict.fromkeys(WEBHOOK["health"]),
        "state": "disabled",
        "disabled_reason": "by_tenant",
        "disabled_at": "2026-01-31T12:30:00.000000Z",
    },
    "updated_at": "2026-01-31T12:30:00.000000Z",
}
WEBHOOK_PAGE: dict[str, Any] = {"webhooks": [WEBHOOK], "next_page_token": None}
SIGNING_SECRET: dict[str, Any] = {"secret": _SECRET, "secrets": _SECRETS}
ROTATED_SECRET: dict[str, Any] = {
    "secret": _SECRET,
    "public_key": None,
    "old_expires_at": "2026-01-31T13:00:00.000000Z",
}
_ATTEMPT: dict[str, Any] = {
    "number": 1,
    "started_at": "2026-01-31T12:00:02.900000Z",
    "duration_ms": 103,
    "status": 500,
    "error": "status",
    "message": "The receiver returned status 500.",
    "response": "internal error",
    "is_probe": False,
}
DELIVERY: dict[str, Any] = {
    "id": _DELIVERY_ID,
    "webhook_id": _WEBHOOK_ID,
    "url": CREATE_WEBHOOK["url"],
    "event_type": "job.completed",
    "job_id": "job_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b",
    "sequence": 5,
    "state": "pending",
    "attempt_count": 1,
    "occurred_at": "2026-01-31T12:00:02.250000Z",
    "created_at": "2026-01-31T12:00:02.400000Z",
    "next_attempt_at": "2026-01-31T12:00:08.000000Z",
    "delivered_at": None,
    "last_attempt": _ATTEMPT,
}
DELIVERY_WITH_ATTEMPTS: dict[str, Any] = {**DELIVERY, "attempts": [_ATTEMPT]}
DELIVERY_PAGE: dict[str, Any] = {"deliveries": [DELIVERY], "next_page_token": None}
TEST: dict[str, Any] = {
    "delivery_id": _DELIVERY_ID,
    "attempt": {**_ATTEMPT, "status": 204, "error": None, "message": None, "response": None},
}
UNHEALTHY_WEBHOOKS: dict[str, Any] = {
    "webhooks": [{"tenant": "acme", **{name: WEBHOOK[name] for name in ("id", "url", "health")}}],
    "has_more": False,
}
REDELIVERY: dict[str, Any] = {"count": 12}
#: Request bodies by operation.
BODIES: dict[str, dict[str, Any]] = {
    "createWebhook": CREATE_WEBHOOK,
    "updateWebhook": UPDATE_WEBHOOK,
    "rotateWebhookSecret": ROTATE_SECRET,
    "rotateSigningSecret": ROTATE_SECRET,
    "redeliverRange": REDELIVER_RANGE,
}
#: Responses by operation and HTTP status.
RESPONSES: dict[tuple[str, str], Any] = {
    ("createWebhook", "201"): CREATED_WEBHOOK,
    ("listWebhooks", "200"): WEBHOOK_PAGE,
    ("getWebhook", "200"): WEBHOOK,
    ("updateWebhook", "200"): _DISABLED,
    ("getSigningSecret", "200"): SIGNING_SECRET,
    ("rotateSigningSecret", "200"): ROTATED_SECRET,
    ("rotateWebhookSecret", "200"): ROTATED_SECRET,
    ("listDeliveries", "200"): DELIVERY_PAGE,
    ("getDelivery", "200"): DELIVERY_WITH_ATTEMPTS,
    ("redeliver", "202"): DELIVERY,
    ("redeliverRange", "202"): REDELIVERY,
    ("testWebhook", "200"): TEST,
    ("listUnhealthyWebhooks", "200"): UNHEALTHY_WEBHOOKS,
    ("listTenantWebhooks", "200"): WEBHOOK_PAGE,
    ("listTenantDeliveries", "200"): DELIVERY_PAGE,
    ("redeliverForTenant", "202"): DELIVERY,
}
