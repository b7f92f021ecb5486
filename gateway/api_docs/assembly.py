"""Completes the OpenAPI document with what FastAPI cannot derive: bodies that routes read themselves, named enums,
response headers, descriptions of path parameters, and examples."""

from copy import deepcopy
from typing import Any

from calotype.size_limits import MAX_INPUT_BYTES, MAX_INPUT_BYTES_TOGETHER, MAX_INPUT_IMAGES, MEBIBYTE
from pydantic.json_schema import models_json_schema

from gateway.openai_images.image_references import EditParameters
from gateway.openai_images.schemas import CompletedView, ImageParameters, OpenAIErrorBody
from gateway.problems.problem import MEDIA_TYPE
from gateway.schemas.bulk_actions import CreateBulkAction
from gateway.schemas.job_batches import CreateJobBatch
from gateway.schemas.jobs import ProgressView
from gateway.schemas.pauses import CreatePause
from gateway.schemas.problems import ProblemView
from gateway.schemas.requests import CreateClientToken, CreateJob, RetryJob
from gateway.schemas.webhook_requests import CreateWebhook, RedeliverRange, RotateSecret, UpdateWebhook

REF = "#/components/schemas/{model}"
#: Component of the multipart form of `POST /v1/images/edits`.
EDIT_FORM = "EditImages"
#: Response headers by name: description and schema.
HEADERS: dict[str, dict[str, Any]] = {
    "Location": {"description": "Address of the job, or of the new object.", "schema": {"type": "string"}},
    "ETag": {"description": 'Version of the job, `W/"SEQUENCE"`.', "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds after which to repeat the request, or to poll the job again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Idempotency-Replayed": {
        "description": "`true` if an earlier request with the same Idempotency-Key did the work; absent otherwise.",
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "`wait=N` if the request had `Prefer: wait`; N is at most 60.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'Requests left and seconds until all are available again, `"requests";r=599;t=1`; '
        "present if the tenant has `requests_per_minute`.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": 'Quota of requests and its window in seconds, `"requests";q=600;w=60`; '
        "present if the tenant has `requests_per_minute`.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {"description": "`Bearer`: send a key or token.", "schema": {"type": "string"}},
    "X-Request-Id": {
        "description": "Id of the request: the caller's `X-Request-Id` if it sent a valid one, or a new one.",
        "schema": {"type": "string"},
    },
    "x-calotype-job-id": {"description": "Id of the job that made the images.", "schema": {"type": "string"}},
}
#: Path and query parameters that FastAPI derives from functions, by name.
_PARAMETERS = {
    "job_id": "Id of the job, `job_...`; at most 80 characters.",
    "letter_id": "Id of the dead letter.",
    "bulk_action_id": "Id of the bulk action, `bulk_...`; at most 80 characters.",
    "webhook_id": "Id of the endpoint, `wh_...`; at most 80 characters. "
    "In the calls about deliveries, `callbacks` stands for the callback URLs of jobs.",
    "delivery_id": "Id of the delivery, `msg_...`; at most 80 characters.",
    "model": "`<provider>`, `<provider>/<model>` or an alias; a model name may contain slashes.",
    "page_size": "Entries per page.",
    "page_token": "`next_page_token` of the page before; left out: the first page.",
    "parked": "True: list messages that are tried again by themselves for a day, before they become dead letters.",
}
_MODELS: Any = [
    (CreateJob, "validation"),
    (CreateJobBatch, "validation"),
    (RetryJob, "validation"),
    (CreateClientToken, "validation"),
    (CreateWebhook, "validation"),
    (UpdateWebhook, "validation"),
    (RotateSecret, "validation"),
    (CreatePause, "validation"),
    (CreateBulkAction, "validation"),
    (RedeliverRange, "validation"),
    (ImageParameters, "validation"),
    (EditParameters, "validation"),
    (ProblemView, "serialization"),
    (ProgressView, "serialization"),
    (CompletedView, "serialization"),
    (OpenAIErrorBody, "serialization"),
]


def header(name: str) -> dict[str, str]:
    """Returns a reference to a response header of `HEADERS`."""
    return {"$ref": f"#/components/headers/{name}"}


def complete(
    document: dict[str, Any], *, security_schemes: dict[str, Any], default_security: list[dict[str, list[str]]]
) -> dict[str, Any]:
    """Completes the document in place and returns it; calls under `/v1/` that declare no security get the default."""
    # Here and below, not above: most gateways are never asked for the document.
    from gateway.api_docs import enums

    _, definitions = models_json_schema(_MODELS, ref_template=REF)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    schemas[EDIT_FORM] = _edit_form(schemas[ImageParameters.__name__])
    # FastAPI adds its own schemas of a 422 where a route declares none; no route responds with them.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete_operation(operation, security=default_security if path.startswith("/v1/") else [])
    enums.replace_inline(document, ref=REF)
    schemas.update(enums.components())
    components["schemas"] = dict(sorted(schemas.items()))
    components["headers"] = deepcopy(HEADERS)
    components["securitySchemes"] = security_schemes
    return document


def _edit_form(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an image call as form fields, which cannot be null, and its files."""
    file = {"type": "string", "format": "binary", "minLength": 1}
    fields = {name: _form_field(schema) for name, schema in parameters["properties"].items()}
    return {
        "title": EDIT_FORM,
        "description": "A form with the parameters of an image call, and the images to start from.",
        "type": "object",
        "properties": {
            "image": {
                "description": f"Images to start from (PNG, JPEG or WebP), at most {MAX_INPUT_IMAGES}, "
                f"{MAX_INPUT_BYTES // MEBIBYTE} MiB each and {MAX_INPUT_BYTES_TOGETHER // MEBIBYTE} MiB together with "
                "the mask; repeat the field for several. The name `image[]` is accepted too.",
                "type": "array",
                "items": file,
                "minItems": 1,
                "maxItems": MAX_INPUT_IMAGES,
            },
            "mask": {
                "description": "Mask: its transparent pixels are edited, or its white ones if none is transparent.",
                **file,
            },
            **{name: schema for name, schema in fields.items() if schema is not None},
        },
        "required": ["image", "prompt"],
        "additionalProperties": False,
    }


def _form_field(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema without null and default; None for a field that must be null."""
    field = {key: value for key, value in deepcopy(schema).items() if key not in ("anyOf", "default", "title")}
    values = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if schema.get("type") == "null":
        return None
    return field | (deepcopy(values[0]) if values else {})


def _complete_operation(operation: dict[str, Any], *, security: list[dict[str, list[str]]]) -> None:
    operation.setdefault("security", security)
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", ()):
        del responses["422"]
    for parameter in operation.get("parameters", ()):
        parameter.setdefault("description", _PARAMETERS.get(parameter["name"], ""))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        content["example"] = _body_example(operation["operationId"], media_type)
    for status, response in responses.items():
        _add_headers(response, status, needs_key=bool(operation["security"]))
        for media_type, content in response.get("content", {}).items():
            content["example"] = _example(operation, status, media_type)


def _add_headers(response: dict[str, Any], status: str, *, needs_key: bool) -> None:
    names = ["X-Request-Id"]
    if status == "401":
        names.append("WWW-Authenticate")
    elif needs_key:
        names += ["RateLimit", "RateLimit-Policy"]
    if needs_key and status in ("402", "429", "503"):
        names.append("Retry-After")
    headers = response.setdefault("headers", {})
    headers.update({name: header(name) for name in names})


def _body_example(operation: str, media_type: str) -> dict[str, Any]:
    from gateway.api_docs import examples
    from gateway.openai_images import examples as openai_examples

    if operation == "editImages" and media_type == "application/json":
        return openai_examples.EDIT_IMAGES
    return examples.BODIES[operation]


def _example(operation: dict[str, Any], status: str, media_type: str) -> Any:
    from gateway.api_docs import examples
    from gateway.openai_images import examples as openai_examples

    name = operation["operationId"]
    if media_type == MEDIA_TYPE:
        return examples.PROBLEMS[status]
    if "openai" in operation["tags"] and status >= "400":
        return openai_examples.ERRORS[status]
    return examples.STREAMS[name] if media_type == "text/event-stream" else examples.RESPONSES[name, status]
