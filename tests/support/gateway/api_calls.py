"""One good request of each call of the HTTP contract, by the name that it has there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.providers.paid_provider import png


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request; its path names the jobs `{job}` and, to be deleted, `{other}`."""

    method: str
    path: str
    request: Mapping[str, Any] = field(default_factory=dict)

    def about(self, **jobs: str) -> tuple[str, str, dict[str, Any]]:
        """Method, path and the rest, for these jobs."""
        body = self.request.get("json", {})
        named = {"json": body | {"job_id": jobs["job"]}} if "job_id" in body else {}
        return self.method, self.path.format_map(jobs), dict(self.request) | named


#: Ids of a webhook and of a delivery that do not exist.
WEBHOOK, DELIVERY = f"wh_{'0' * 32}", f"msg_{'0' * 32}"
#: Id of a bulk action that does not exist.
BULK_ACTION = f"bulk_{'0' * 32}"
#: A bulk action on no job.
_BULK = {"action": "cancel", "filter": {"tenant": "nobody"}}
_PROMPT = {"prompt": "one of every call"}
CALLS: Mapping[str, Call] = {
    "createJob": Call(method="POST", path="/v1/jobs", request={"json": _PROMPT}),
    "createJobs": Call(method="POST", path="/v1/jobs:batch", request={"json": {"jobs": [_PROMPT]}}),
    "listJobs": Call(method="GET", path="/v1/jobs"),
    "getJob": Call(method="GET", path="/v1/jobs/{job}"),
    "listAttempts": Call(method="GET", path="/v1/jobs/{job}/attempts"),
    "watchJob": Call(method="GET", path="/v1/jobs/{job}/events?after=0"),
    "cancelJob": Call(method="POST", path="/v1/jobs/{job}/cancel"),
    "retryJob": Call(method="POST", path="/v1/jobs/{job}/retry", request={"json": {}}),
    "deleteJob": Call(method="DELETE", path="/v1/jobs/{other}"),
    "createClientToken": Call(method="POST", path="/v1/client-tokens", request={"json": {"job_id": ""}}),
    "getSigningSecret": Call(method="GET", path="/v1/webhooks/signing-secret"),
    "rotateSigningSecret": Call(method="POST", path="/v1/webhooks/signing-secret/rotate-secret"),
    "createWebhook": Call(method="POST", path="/v1/webhooks", request={"json": {"url": "https://shop.example/hook"}}),
    "listWebhooks": Call(method="GET", path="/v1/webhooks"),
    "getWebhook": Call(method="GET", path=f"/v1/webhooks/{WEBHOOK}"),
    "updateWebhook": Call(method="PATCH", path=f"/v1/webhooks/{WEBHOOK}", request={"json": {"enabled": True}}),
    "deleteWebhook": Call(method="DELETE", path=f"/v1/webhooks/{WEBHOOK}"),
    "rotateWebhookSecret": Call(method="POST", path=f"/v1/webhooks/{WEBHOOK}/rotate-secret"),
    "testWebhook": Call(method="POST", path=f"/v1/webhooks/{WEBHOOK}/test"),
    "listDeliveries": Call(method="GET", path=f"/v1/webhooks/{WEBHOOK}/deliveries"),
    "getDelivery": Call(method="GET", path=f"/v1/webhooks/{WEBHOOK}/deliveries/{DELIVERY}"),
    "redeliver": Call(method="POST", path=f"/v1/webhooks/deliveries/{DELIVERY}/redeliver"),
    "redeliverRange": Call(
        method="POST", path=f"/v1/webhooks/{WEBHOOK}/redeliver", request={"json": {"after": "2026-01-31T00:00:00Z"}}
    ),
    "listProviders": Call(method="GET", path="/v1/providers"),
    "listUiStates": Call(method="GET", path="/v1/ui-states"),
    "listDeadLetters": Call(method="GET", path="/v1/admin/dead"),
    "replayDeadLetter": Call(method="POST", path="/v1/admin/dead/999999/replay"),
    "getQueue": Call(method="GET", path="/v1/admin/queue"),
    "getThroughput": Call(method="GET", path="/v1/admin/throughput"),
    "listUnhealthyWebhooks": Call(method="GET", path="/v1/admin/webhooks"),
    "listTenantWebhooks": Call(method="GET", path="/v1/admin/tenants/nobody/webhooks"),
    "listTenantDeliveries": Call(method="GET", path=f"/v1/admin/tenants/nobody/webhooks/{WEBHOOK}/deliveries"),
    "redeliverForTenant": Call(method="POST", path=f"/v1/admin/tenants/nobody/deliveries/{DELIVERY}:redeliver"),
    "listAnyJobs": Call(method="GET", path="/v1/admin/jobs"),
    "previewBulkAction": Call(method="POST", path="/v1/admin/bulk-actions:preview", request={"json": _BULK}),
    "createBulkAction": Call(method="POST", path="/v1/admin/bulk-actions", request={"json": _BULK}),
    "listBulkActions": Call(method="GET", path="/v1/admin/bulk-actions"),
    "getBulkAction": Call(method="GET", path=f"/v1/admin/bulk-actions/{BULK_ACTION}"),
    "cancelBulkAction": Call(method="POST", path=f"/v1/admin/bulk-actions/{BULK_ACTION}:cancel"),
    "listPauses": Call(method="GET", path="/v1/admin/pauses"),
    "pauseProvider": Call(method="POST", path="/v1/admin/providers/paid:pause", request={"json": {"note": "n"}}),
    "resumeProvider": Call(method="POST", path="/v1/admin/providers/paid:resume"),
    "pauseTenant": Call(method="POST", path="/v1/admin/tenants/nobody:pause"),
    "resumeTenant": Call(method="POST", path="/v1/admin/tenants/nobody:resume"),
    "pauseQueue": Call(method="POST", path="/v1/admin/queue:pause"),
    "resumeQueue": Call(method="POST", path="/v1/admin/queue:resume"),
    "getAnyJob": Call(method="GET", path="/v1/admin/jobs/{job}"),
    "listProviderUse": Call(method="GET", path="/v1/admin/providers"),
    "listSpend": Call(method="GET", path="/v1/admin/spend"),
    # Streams begin at once; a held request would last as long as an outage.
    "generateImages": Call(method="POST", path="/v1/images/generations", request={"json": _PROMPT | {"stream": True}}),
    "editImages": Call(
        method="POST",
        path="/v1/images/edits",
        request={
            "data": {"prompt": "one of every call", "model": "edits", "stream": "true"},
            "files": {"image": png()},
        },
    ),
    "listModels": Call(method="GET", path="/v1/models"),
    "getModel": Call(method="GET", path="/v1/models/edits"),
    "isAlive": Call(method="GET", path="/healthz"),
    "isReady": Call(method="GET", path="/readyz"),
}
