"""One example of every body and response; a test checks that each fits its schema."""

import json
from typing import Any

from calotype.error_reasons import Reason
from calotype.size_limits import MAX_BODY_BYTES

from gateway.api_docs import webhook_examples
from gateway.openai_images import examples as openai
from gateway.problems.reasons import entry, slug
from gateway.schemas.jobs import ProviderCancel, Status
from gateway.views.display import JobCondition, display
from gateway.views.ui_states import STATES

_ROOT = "http://127.0.0.1:8080"
_ID = "job_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b"
_JOB = f"{_ROOT}/v1/jobs/{_ID}"
_NONE = dict.fromkeys(
    (
        *("negative_prompt", "model", "aspect_ratio", "quality", "output_format", "mask", "callback_url", "end_user"),
        *("background", "output_compression", "moderation", "input_fidelity"),
    )
)


def _display(status: Status, provider_cancel: ProviderCancel | None = None) -> dict[str, Any]:
    view = display(JobCondition(status=status, provider_cancel=provider_cancel), age_seconds=0)
    return view.model_dump(mode="json")


CREATE_JOB: dict[str, Any] = {
    "prompt": "A harbour at dawn, calotype print",
    "provider": "procedural",
    "size": "512x512",
    "seed": 7,
    "metadata": {"order": "1042"},
}
RETRY_JOB: dict[str, Any] = {"on_ambiguous": "fail", "expected_sequence": 7}
JOB: dict[str, Any] = {
    "id": _ID,
    "status": "completed",
    "failure_stage": None,
    "error": None,
    "attempt_count": 1,
    "retry_count": 0,
    "sequence": 5,
    "provider": "procedural",
    "model": "v1",
    "request": {
        **_NONE,
        **CREATE_JOB,
        "fallback": [],
        "n": 1,
        "input_images": [],
        "provider_options": {},
        "priority": "normal",
        "start_within_seconds": None,
        "finish_within_seconds": None,
        "on_ambiguous": "fail",
        "fallback_on_refusal": False,
    },
    "artifacts": [
        {
            "id": "img_0193a6b0d3e47f708b9c0d1e2f3a4b5c",
            "index": 0,
            "url": f"https://images.example.com/jobs/{_ID}/0-9f86d081884c7d65.png",
            "content_type": "image/png",
            "width": 512,
            "height": 512,
            "size_bytes": 183_204,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "blurhash": "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
            "seed": 7,
            "revised_prompt": None,
        }
    ],
    "display": _display("completed"),
    "queue_position": None,
    "queue_position_is_exact": None,
    "wait": None,
    "cost": {"amount_micros": 0, "currency": "USD", "complete": True},
    "provider_cancel": None,
    "warnings": [],
    "metadata": {"order": "1042"},
    "end_user": None,
    "created_at": "2026-01-31T12:00:00.000000Z",
    "updated_at": "2026-01-31T12:00:02.250000Z",
    "started_at": "2026-01-31T12:00:00.120000Z",
    "completed_at": "2026-01-31T12:00:02.250000Z",
    "links": {
        "self": _JOB,
        "events": f"{_JOB}/events",
        "cancel": f"{_JOB}/cancel",
        "retry": f"{_JOB}/retry",
        "attempts": f"{_JOB}/attempts",
        "trace": None,
    },
}
QUEUED_JOB: dict[str, Any] = {
    **JOB,
    "status": "queued",
    "attempt_count": 0,
    "sequence": 1,
    "artifacts": [],
    "display": _display("queued"),
    "queue_position": 1,
    "queue_position_is_exact": True,
    "wait": {"reason": "worker", "next_try_at": None, "provider": None, "limit": None, "stage": None, "error": None},
    "cost": {"amount_micros": None, "currency": "USD", "complete": True},
    "updated_at": "2026-01-31T12:00:00.000000Z",
    "started_at": None,
    "completed_at": None,
}
CANCELED_JOB: dict[str, Any] = {
    **JOB,
    "status": "canceled",
    "artifacts": [],
    "provider_cancel": "not_needed",
    "display": _display("canceled", "not_needed"),
    "cost": {"amount_micros": None, "currency": "USD", "complete": True},
}
JOB_PAGE: dict[str, Any] = {"jobs": [JOB], "next_page_token": None}
ATTEMPTS: dict[str, Any] = {
    "attempts": [
        {
            "number": 1,
            "stage": "generating",
            "worker": "generator/host-1/4711",
            "started_at": "2026-01-31T12:00:00.120000Z",
            "ended_at": "2026-01-31T12:00:02.000000Z",
            "outcome": "succeeded",
            "failure_stage": None,
            "error": None,
            "counted": True,
            "provider_calls": [
                {
                    "id": "call_0193a6b0c2f37081929394959697989a",
                    "provider": "procedural",
                    "model": "v1",
                    "phase": "succeeded",
                    "operation_id": None,
                    "image_indexes": [0],
                    "cost": {"amount_micros": 0, "currency": "USD", "complete": True},
                    "consent": "none",
                    "provider_error": None,
                    "created_at": "2026-01-31T12:00:00.150000Z",
                    "settled_at": "2026-01-31T12:00:01.980000Z",
                }
            ],
        }
    ]
}
PROVIDERS: dict[str, Any] = {
    "providers": [
        {
            "name": "procedural",
            "kind": "procedural",
            "is_default": True,
            "default_model": "v1",
            "models": [{"name": "v1", "price_micros_per_image": 0, "capabilities": None}],
            "aliases": {"dall-e-3": "v1"},
            "capabilities": {
                "max_images_per_call": 10,
                "sizes": [],
                "aspect_ratios": ["1:1", "3:2"],
                "min_side": 64,
                "max_side": 2048,
                "side_multiple": 1,
                "max_ratio": None,
                "output_formats": ["png", "jpeg", "webp"],
                "qualities": [],
                "backgrounds": [],
                "output_compression": False,
                "moderations": [],
                "input_fidelities": [],
                "seed": True,
                "negative_prompt": False,
                "max_input_images": 0,
                "mask": False,
                "resumable": False,
                "cancelable": False,
                "idempotent": True,
                "free": True,
                "max_prompt_characters": None,
            },
            "max_concurrency": 4,
            "requests_per_minute": None,
            "timeout_seconds": 60,
            "options": [],
            "health": {"status": "ok", "outages": []},
        }
    ]
}
EVENTS = (
    "retry: 2000\n\n"
    f"event: job\nid: 1\ndata: {json.dumps(QUEUED_JOB)}\n\n"
    f"event: progress\ndata: {json.dumps({'percent': 40.0, 'step': None, 'steps': None, 'message': None})}\n\n"
    ": still here\n\n"
)
_TOO_MANY = "Input should be less than or equal to 10"
#: One reason for each status, with a detail.
_REASONS = (
    (Reason.MALFORMED, "The body is not JSON: line 1, column 12."),
    (Reason.UNAUTHENTICATED, "Send Authorization: Bearer KEY."),
    (
        Reason.BUDGET_EXHAUSTED,
        "The tenant's budget for the day does not cover the job; the next day begins at 2026-02-01T00:00:00Z.",
    ),
    (Reason.PERMISSION_DENIED, "A client token allows only its own job and actions."),
    (Reason.JOB_NOT_FOUND, f"There is no job {_ID}."),
    (Reason.WRONG_STATE, "The job is completed; only a failed job can be retried."),
    (Reason.JOB_DELETED, "The job that this key made was deleted."),
    (Reason.TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES:,} bytes."),
    (Reason.UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json, in UTF-8."),
    (Reason.INVALID_INPUT, f"n: {_TOO_MANY}"),
    (Reason.QUOTA_EXCEEDED, "600 requests per minute are allowed; repeat it in 3 s."),
    (Reason.INTERNAL, "A defect of the service; its log has more under this request_id."),
    (Reason.SERVICE_UNAVAILABLE, "The service cannot serve it now; repeat the request."),
)
#: Problem details by HTTP status.
PROBLEMS: dict[str, dict[str, Any]] = {
    str(entry(reason).status): {
        "type": f"/problems/{slug(reason)}",
        "title": entry(reason).title,
        "status": entry(reason).status,
        "detail": detail,
        "instance": "/v1/jobs",
        "code": entry(reason).code,
        "reason": reason,
        "retryable": entry(reason).retryable,
        "request_id": "0193a6b0c1d27e6f8a9b0c1d2e3f4a5b",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "errors": [{"field": "n", "message": _TOO_MANY}] if reason == Reason.INVALID_INPUT else [],
        "job": None,
    }
    for reason, detail in _REASONS
}
_UNSUPPORTED: dict[str, Any] = {"prompt": "A harbour at dusk", "provider": "flux", "seed": 7}
_NO_SEED = "flux does not support it."
JOB_BATCH: dict[str, Any] = {
    "results": [
        {"job": QUEUED_JOB, "problem": None, "replayed": False, "retry_after_seconds": None},
        {
            "job": None,
            "problem": {
                **PROBLEMS["422"],
                "detail": f"seed: {_NO_SEED}",
                "instance": "/v1/jobs:batch",
                "errors": [{"field": "seed", "message": _NO_SEED}],
            },
            "replayed": False,
            "retry_after_seconds": None,
        },
    ]
}
READY: dict[str, Any] = {"status": "ok", "conditions": [{"name": "job-service", "ok": True, "message": ""}]}
UI_STATES: dict[str, Any] = {"states": [STATES[0].model_dump(mode="json")]}
CREATE_CLIENT_TOKEN: dict[str, Any] = {"job_id": _ID, "actions": ["read", "cancel"], "ttl_seconds": 3600}
CLIENT_TOKEN: dict[str, Any] = {
    "token": "eyJhbGciOiJIUzI1NiIsImtpZCI6IjlmODZkMDgxIiwidHlwIjoiSldUIn0.e30.c2lnbmF0dXJl",
    "job_id": _ID,
    "actions": ["read", "cancel"],
    "expires_at": "2026-01-31T13:00:00.000000Z",
}
BULK_ACTION_REQUEST: dict[str, Any] = {
    "action": "retry",
    "filter": {"tenant": "acme", "reason": Reason.PROVIDER_AUTH, "created_after": "2026-01-31T11:00:00Z"},
    "on_ambiguous": "fail",
}
#: Request bodies by operation.
BODIES: dict[str, dict[str, Any]] = {
    **{name: {"note": "their keys are replaced"} for name in ("pauseProvider", "pauseTenant", "pauseQueue")},
    **dict.fromkeys(("createBulkAction", "previewBulkAction"), BULK_ACTION_REQUEST),
    "createJob": CREATE_JOB,
    "createJobs": {"jobs": [{**CREATE_JOB, "idempotency_key": "order-1042"}, _UNSUPPORTED]},
    "retryJob": RETRY_JOB,
    "createClientToken": CREATE_CLIENT_TOKEN,
    **webhook_examples.BODIES,
    **openai.BODIES,
}
#: Event streams by operation.
STREAMS: dict[str, str] = {"watchJob": EVENTS, **openai.STREAMS}
DEAD_LETTERS: dict[str, Any] = {
    "dead_letters": [
        {
            "id": "17",
            "died_at": "2026-01-31T12:00:00.250000Z",
            "reason": "The body cannot be decoded.",
            "subject": "calotype.fact.generation.images_generated",
            "type": "calotype.fact.images_generated",
            "job_id": _ID,
            "size_bytes": 211,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        }
    ],
    "next_page_token": None,
}
_COUNTS: dict[str, Any] = {
    "queued": 2,
    "waiting": 1,
    "processing": 0,
    "generating": 4,
    "uploading": 1,
    "is_exact": True,
}
QUEUE: dict[str, Any] = {
    "jobs": _COUNTS,
    "oldest_queued_at": "2026-01-31T11:59:58.000000Z",
    "tenants": [{"tenant": "acme", "jobs": _COUNTS, "oldest_queued_at": "2026-01-31T11:59:58.000000Z"}],
    "unpublished_messages": 0,
    "open_settlements": 1,
    "open_deletions": 1,
    "oldest_deletion_at": "2026-01-31T11:59:59.000000Z",
    "missing_objects": 0,
}
THROUGHPUT: dict[str, Any] = {
    "now": "2026-01-31T12:00:00.000000Z",
    "counted_since": "2026-01-31T11:00:00.000000Z",
    "minutes": [{"starts_at": "2026-01-31T11:59:00.000000Z", "completed": 38, "failed": 2, "canceled": 0}],
    "failures": [{"reason": Reason.PROVIDER_AUTH, "jobs": 2}],
    "stages": [{"status": "generating", "oldest_seconds": 12.25}],
}
ANY_JOB: dict[str, Any] = {
    "tenant": "acme",
    "summary": {
        "stage": "completed",
        "code": None,
        "reason": None,
        "message": None,
        "provider_call": ATTEMPTS["attempts"][0]["provider_calls"][0],
        "next_step": "Nothing is wrong: the job is completed.",
    },
    "job": JOB,
    "attempts": [
        {
            **ATTEMPTS["attempts"][0],
            "outcome": "failed",
            "provider_calls": [
                {
                    **ATTEMPTS["attempts"][0]["provider_calls"][0],
                    "phase": "not_sent",
                    "provider_error": {
                        "http_status": 429,
                        "code": "rate_limit_exceeded",
                        "message": "Rate limit reached for images per minute.",
                        "request_id": "req_7f1c",
                    },
                }
            ],
        }
    ],
    "lease": None,
    "events": [
        {
            "sequence": 1,
            "type": "job.submitted",
            "status": "queued",
            "occurred_at": "2026-01-31T12:00:00.000000Z",
        }
    ],
    "has_older_events": False,
    "deliveries": {"available": True, "problem": None, "deliveries": [], "has_more": False},
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "links": {"trace": None, "board": None},
}
ANY_JOBS: dict[str, Any] = {
    "jobs": [{"tenant": "acme", "job": CANCELED_JOB}],
    "next_page_token": "bWFj",
}
PAUSE: dict[str, Any] = {
    "kind": "provider",
    "name": "flux",
    "note": "their keys are replaced",
    "paused_by": "ops/key:1a2b3c4d",
    "paused_at": "2026-01-31T12:00:00.000000Z",
}
TENANT_PAUSE = PAUSE | {"kind": "tenant", "name": "acme"}
QUEUE_PAUSE = PAUSE | {"kind": "queue", "name": None}
BULK_PREVIEW: dict[str, Any] = {"matched": 412, "is_matched_exact": True, "job_ids": [_ID]}
BULK_ACTION: dict[str, Any] = {
    "id": "bulk_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b",
    "action": "retry",
    "filter": {
        "tenant": "acme",
        "status": [],
        "id": None,
        "operation_id": None,
        "end_user": None,
        "reason": Reason.PROVIDER_AUTH,
        "code": None,
        "provider": None,
        "created_after": "2026-01-31T11:00:00.000000Z",
        "created_before": None,
    },
    "on_ambiguous": "fail",
    "requested_by": "ops/key:1a2b3c4d",
    "status": "running",
    "matched": 412,
    "is_matched_exact": True,
    "done": 97,
    "skipped": 2,
    "refused": 1,
    "refusals": [{"reason": Reason.CONSENT_REQUIRED, "count": 1, "job_id": _ID}],
    "created_at": "2026-01-31T12:00:00.000000Z",
    "finished_at": None,
}
CANCELED_BULK_ACTION = BULK_ACTION | {"status": "canceled", "finished_at": "2026-01-31T12:00:02.000000Z"}
PROVIDER_USE: dict[str, Any] = {
    "providers": [
        {
            "provider": PROVIDERS["providers"][0],
            "in_use": 4,
            "calls_in_last_minute": 37,
            "registered_by": "generator/host-1/42",
            "registered_at": "2026-01-31T11:00:00.000000Z",
            "spent_micros": 12480000,
            "calls_without_cost": 4,
            "spent_since": "2026-01-31T00:00:00.000000Z",
        }
    ]
}
SPEND: dict[str, Any] = {
    "tenants": [
        {
            "tenant": "acme",
            "allowed_providers": ["flux", "openai/gpt-image-1"],
            "budget_micros_per_day": 50_000_000,
            "budget_micros_per_month": 900_000_000,
            "day": {"starts_on": "2026-01-31", "spent_micros": 12_640_000, "reserved_micros": 80_000},
            "month": {"starts_on": "2026-01-01", "spent_micros": 402_880_000, "reserved_micros": 120_000},
        }
    ],
    "next_page_token": None,
}
#: Responses by operation and HTTP status.
RESPONSES: dict[tuple[str, str], Any] = {
    ("createJob", "200"): JOB,
    ("createJobs", "200"): JOB_BATCH,
    ("createJob", "202"): QUEUED_JOB,
    ("listJobs", "200"): JOB_PAGE,
    ("getJob", "200"): JOB,
    ("listAttempts", "200"): ATTEMPTS,
    ("cancelJob", "200"): CANCELED_JOB,
    ("retryJob", "202"): QUEUED_JOB,
    ("createClientToken", "201"): CLIENT_TOKEN,
    ("listProviders", "200"): PROVIDERS,
    ("listUiStates", "200"): UI_STATES,
    **webhook_examples.RESPONSES,
    **openai.RESPONSES,
    ("listDeadLetters", "200"): DEAD_LETTERS,
    ("getQueue", "200"): QUEUE,
    ("getThroughput", "200"): THROUGHPUT,
    ("listAnyJobs", "200"): ANY_JOBS,
    ("listPauses", "200"): {"pauses": [PAUSE]},
    ("pauseProvider", "200"): PAUSE,
    ("pauseTenant", "200"): TENANT_PAUSE,
    ("pauseQueue", "200"): QUEUE_PAUSE,
    ("resumeProvider", "200"): {"resumed": True},
    ("resumeTenant", "200"): {"resumed": True},
    ("resumeQueue", "200"): {"resumed": False},
    ("previewBulkAction", "200"): BULK_PREVIEW,
    ("createBulkAction", "202"): BULK_ACTION,
    ("listBulkActions", "200"): {"bulk_actions": [BULK_ACTION]},
    ("getBulkAction", "200"): BULK_ACTION,
    ("cancelBulkAction", "200"): CANCELED_BULK_ACTION,
    ("getAnyJob", "200"): ANY_JOB,
    ("listProviderUse", "200"): PROVIDER_USE,
    ("listSpend", "200"): SPEND,
    ("isAlive", "200"): {"status": "ok"},
    ("isReady", "200"): READY,
    ("isReady", "503"): {
        "status": "unavailable",
        "conditions": [{"name": "job-service", "ok": False, "message": "cannot be reached (UNAVAILABLE)"}],
    },
}
