"""Named enums of the OpenAPI document: each set of values is one component, with the meaning of every value."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from calotype.error_reasons import Code

from gateway.api_docs import webhook_enums
from gateway.openai_images.schemas import EventType, ResponseFormat
from gateway.schemas.attempts import Consent, Phase
from gateway.schemas.bulk_actions import BulkActionName, BulkActionStatus
from gateway.schemas.catalogue import HealthStatus
from gateway.schemas.client_tokens import TokenAction
from gateway.schemas.health import ReadyStatus
from gateway.schemas.jobs import Action, OnAmbiguous, Priority, ProviderCancel, Stage, Status, Tone, WaitReason
from gateway.schemas.pauses import PauseKindName
from gateway.schemas.requests import Background, InputFidelity, Moderation, OutputFormat

#: Name of the component, the Literal whose values it has, what it is, and the meaning of each value.
_ENUMS: tuple[tuple[str, Any, str, Mapping[str, str]], ...] = (
    (
        "JobStatus",
        Status,
        "State of a job.",
        {
            "queued": "waits for a worker",
            "processing": "a worker has claimed it and has not sent anything to a provider",
            "generating": "a provider call is recorded and may be in progress",
            "uploading": "the images are made and are copied to their public addresses",
            "completed": "the images are public (final)",
            "failed": "`failure_stage` and `error` say where and why (final, unless a user retries it)",
            "canceled": "a user canceled it (final)",
        },
    ),
    (
        "Stage",
        Stage,
        "Stage in which a failure happened.",
        {
            "queued": "while the job waited for a worker, a limit or a deadline",
            "processing": "while a worker prepared the provider call, such as input images",
            "generating": "while a provider was called, or its result fetched, decoded or stored",
            "uploading": "while images were copied to their public addresses",
            "persisting": "while a result was recorded",
        },
    ),
    (
        "Code",
        Literal[tuple(Code)],
        "Class of a failure, which decides whether the service retries by itself.",
        {
            Code.TEMPORARY: "should pass by itself",
            Code.RATE_LIMIT: "too many requests for now",
            Code.TIMEOUT: "too slow, or the outcome is unknown",
            Code.AUTH_ERROR: "a credential was refused",
            Code.PERMANENT: "the same request cannot succeed",
            Code.UNKNOWN: "not classified, or a defect of the service",
        },
    ),
    (
        "WaitReason",
        WaitReason,
        "What a job waits for.",
        {
            "retry": "its next try, after a failure that may pass",
            "provider_limit": "a limit of the provider: the provider named it, or `max_concurrency` is used up",
            "provider_rate": "the provider's `requests_per_minute` are used up",
            "provider_down": "the provider has been failing; the next try is a single probe",
            "tenant_limit": "the tenant's jobs at generators have reached `max_in_flight`",
            "no_generator": "no running generator offers the provider",
            "worker": "nothing but a free worker and its turn",
            "worker_lost": "the worker stopped reporting; the job is taken back from it",
            "paused": "the end of an operator's pause of the provider, the tenant or the queue",
        },
    ),
    (
        "Tone",
        Tone,
        "Tone of a state, for colour and icon.",
        {
            "info": "neutral",
            "progress": "work in progress",
            "success": "done",
            "warning": "needs attention",
            "error": "failed",
        },
    ),
    (
        "Action",
        Action,
        "What the user can do with a job now.",
        {
            "cancel": "cancel it",
            "retry": "retry it",
            "retry_may_charge_again": "retry it with `on_ambiguous: retry`, once the user agreed to maybe pay again",
        },
    ),
    (
        "ProviderCancel",
        ProviderCancel,
        "Result of the cancellation at the provider.",
        {
            "not_needed": "no provider call was in progress",
            "pending": "a call is being canceled, or followed to its end",
            "confirmed": "the provider stopped the call",
            "unsupported": "the provider cannot cancel; the call ends by itself and may be charged",
            "too_late": "the call had ended before; it may be charged",
        },
    ),
    (
        "Priority",
        Priority,
        "Order among the tenant's own jobs.",
        {"high": "before all others", "normal": "the default", "low": "after all others"},
    ),
    (
        "OnAmbiguous",
        OnAmbiguous,
        "What to do if the outcome of a paid call is unknown.",
        {"fail": "fail the job; never pay twice", "retry": "call again, which may be charged twice"},
    ),
    (
        "OutputFormat",
        OutputFormat,
        "File format of images.",
        {"png": "`image/png`", "jpeg": "`image/jpeg`", "webp": "`image/webp`"},
    ),
    (
        "Background",
        Background,
        "Background of images.",
        {
            "transparent": "transparent; needs png or webp",
            "opaque": "not transparent",
            "auto": "the provider chooses",
        },
    ),
    (
        "Moderation",
        Moderation,
        "How strictly the provider moderates.",
        {"auto": "the provider's default", "low": "less strictly"},
    ),
    (
        "InputFidelity",
        InputFidelity,
        "How closely input images are preserved.",
        {"low": "loosely", "high": "closely"},
    ),
    (
        "TokenAction",
        TokenAction,
        "What a client token allows.",
        {
            "read": "read and follow the job",
            "cancel": "cancel the job",
            "retry": "retry the job, with the consent to maybe pay again",
        },
    ),
    (
        "CallPhase",
        Phase,
        "State of a provider call.",
        {
            "intended": "recorded before it is sent; it may or may not have been sent",
            "accepted": "the provider accepted it and named an operation",
            "succeeded": "the provider made the images",
            "refused": "the provider's content policy refused it",
            "failed": "it ended without a result",
            "canceled": "it was canceled at the provider",
            "not_sent": "it never reached the provider, or the provider did not accept it",
            "unknown": "it may or may not have been carried out and charged",
        },
    ),
    (
        "Consent",
        Consent,
        "Who allowed a call that may pay a second time.",
        {
            "none": "no consent was needed",
            "job": "the job, with `on_ambiguous: retry`",
            "user": "a user's retry, with `on_ambiguous: retry`",
        },
    ),
    *webhook_enums.ENUMS,
    (
        "PauseKindName",
        PauseKindName,
        "What is paused.",
        {
            "provider": "a provider: no waiting job is sent to it",
            "tenant": "a tenant: none of its waiting jobs is claimed",
            "queue": "the queue: no waiting job is claimed",
        },
    ),
    (
        "BulkActionName",
        BulkActionName,
        "What a bulk action does with each job.",
        {"cancel": "cancels jobs that are not final", "retry": "retries failed jobs"},
    ),
    (
        "BulkActionStatus",
        BulkActionStatus,
        "How far a bulk action is.",
        {
            "running": "it has jobs to look at",
            "finished": "it has seen every job (final)",
            "canceled": "an operator stopped it; what it did stays (final)",
        },
    ),
    (
        "HealthStatus",
        HealthStatus,
        "Health of a provider.",
        {
            "ok": "every model gets jobs",
            "degraded": "some models get no jobs",
            "down": "the default model gets no jobs",
        },
    ),
    (
        "ReadyStatus",
        ReadyStatus,
        "Readiness of the gateway.",
        {"ok": "it can serve requests", "unavailable": "it cannot serve requests now"},
    ),
    (
        "ResponseFormat",
        ResponseFormat,
        "How images are returned.",
        {"url": "as public addresses", "b64_json": "as base64"},
    ),
    (
        "EventType",
        EventType,
        "Type of an event in a stream of images.",
        {
            "image_generation.completed": "an image of `POST /v1/images/generations`",
            "image_edit.completed": "an image of `POST /v1/images/edits`",
        },
    ),
)
#: Names of the components by their values.
_NAMES = MappingProxyType({get_args(values): name for name, values, _, _ in _ENUMS})


def components() -> dict[str, dict[str, Any]]:
    """Returns the schema of every named enum."""
    return {name: _component(name, get_args(values), about, meanings) for name, values, about, meanings in _ENUMS}


def _component(name: str, values: tuple[str, ...], about: str, meanings: Mapping[str, str]) -> dict[str, Any]:
    assert tuple(meanings) == values, name
    rows = "\n".join(f"- `{value}`: {meaning}" for value, meaning in meanings.items())
    return {"title": name, "description": f"{about}\n\n{rows}", "type": "string", "enum": list(values)}


def replace_inline(node: Any, *, ref: str) -> None:
    """Replaces each inline copy of a named enum below the node by a reference; `ref` holds `{model}`."""
    if isinstance(node, dict):
        values = node.get("enum")
        name = _NAMES.get(tuple(values)) if isinstance(values, list) else None
        if name is not None:
            for key in ("enum", "type", "title"):
                node.pop(key, None)
            node["$ref"] = ref.format(model=name)
        for inner in node.values():
            replace_inline(inner, ref=ref)
    elif isinstance(node, list):
        for inner in node:
            replace_inline(inner, ref=ref)
