"""The OpenAPI document: what the routes declare, and what FastAPI cannot derive from strictly read bodies."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api_docs import examples
from gateway.auth.authenticator import TOKEN_PARAMETER
from gateway.openai_images import examples as openai_examples
from gateway.openai_images.schemas import ImageParameters, OpenAIErrorBody
from gateway.problems.problem import MEDIA_TYPE
from gateway.schemas.jobs import ProgressView
from gateway.schemas.problems import ProblemView
from gateway.schemas.queries import ListJobs
from gateway.schemas.requests import MAX_INPUTS, ONE_LINE, CreateClientToken, CreateJob, RetryJob

#: Of the contract, not of the program.
CONTRACT_VERSION = "1.0.0"
_REF = "#/components/schemas/{model}"
_PURPOSE = {
    400: "The request cannot be read.",
    401: "No key or token, or one that is not known or has expired.",
    402: "The tenant's budget does not cover it; Retry-After tells when the next day or month begins.",
    403: "Not this caller's to do; a client token is for its job and its actions alone.",
    404: "Not there, or another tenant's.",
    409: "The job's state does not allow this; `job` tells how it stands.",
    410: "The job that the Idempotency-Key made was deleted.",
    413: "The body is too large.",
    415: "The body is not of the type that the call takes.",
    422: "A field is wrong; `errors` names each.",
    429: "The tenant's quota is used up; RateLimit tells of the rate, Retry-After when to ask again.",
    500: "A defect of the service.",
    503: "The service cannot take it now; ask again after Retry-After.",
    502: "The provider refuses what the operator has set up.",
    504: "The job takes longer than a request is held, and goes on; or it failed as its provider was too slow.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses that are a no, as a route declares them; every call may answer 401, 403, 429, 500 and 503 too."""
    shape = {"schema": {"$ref": _REF.format(model=ProblemView.__name__)}}
    return {
        status: {"description": _PURPOSE[status], "content": {MEDIA_TYPE: shape}}
        for status in sorted({*statuses, 401, 403, 429, 500, 503})
    }


def openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same in OpenAI's shape."""
    shape = {"schema": {"$ref": _REF.format(model=OpenAIErrorBody.__name__)}}
    return {
        status: {"description": _PURPOSE[status], "content": {"application/json": shape}}
        for status in sorted({*statuses, 401, 403, 429, 500, 503})
    }


#: Not called a string, as readers of documents take the schema of a stream for that of each event.
EVENTS: dict[str, Any] = {"text/event-stream": {"schema": {"description": "Server-sent events."}}}


def openai_answers() -> dict[int | str, dict[str, Any]]:
    """What the calls for pictures answer."""
    told = "The pictures, with the job in `x-calotype-job-id`; with `stream` one event for each."
    return {200: {"description": told, "content": EVENTS}, **openai_errors(400, 404, 409, 410, 413, 415, 502, 504)}


def openai_body(*, form: bool) -> dict[str, Any]:
    """The body of the calls for pictures: JSON, or a form that has files too."""
    shape: dict[str, Any] = {"schema": {"$ref": _REF.format(model=ImageParameters.__name__)}}
    if form:
        file = {"type": "string", "format": "binary", "minLength": 1}
        several = {"type": "array", "items": file, "minItems": 1, "maxItems": MAX_INPUTS}
        files = {"image": file, "image[]": several, "mask": file}
        given = [{"required": ["image"]}, {"required": ["image[]"]}]
        shape = {"schema": {"allOf": [shape["schema"], {"type": "object", "properties": files, "oneOf": given}]}}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data" if form else "application/json": shape}}
    }


def success(description: str, *, model: type[BaseModel] | None = None) -> dict[str, Any]:
    """A response that is a yes; `model` for one that is not the route's main one."""
    return {"description": description} if model is None else {"description": description, "model": model}


def body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """A request body that the route reads itself."""
    shape = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    return {"requestBody": {"required": required, "content": {"application/json": shape}}}


def parameter(name: str, where: str, description: str, **schema: Any) -> dict[str, Any]:
    """A parameter that the route reads itself."""
    return {"name": name, "in": where, "required": False, "description": description, "schema": schema}


IDEMPOTENCY_KEY = parameter(
    "Idempotency-Key",
    "header",
    "The same key and body give the same job. 1 to 255 visible ASCII characters, quoted or bare.",
    type="string",
    pattern=r'^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$',
)
PREFER = parameter("Prefer", "header", "`wait=N` holds the answer for up to N seconds, 1 to 60.", type="string")
IF_NONE_MATCH = parameter("If-None-Match", "header", "The ETag that the client has; 304 if current.", type="string")
LAST_EVENT_ID = parameter("Last-Event-ID", "header", "The last id that was received.", type="string")
_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of a tenant or an operator."},
    "clientToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A client token, for one job.",
    },
    "clientTokenInAddress": {
        "type": "apiKey",
        "in": "query",
        "name": TOKEN_PARAMETER,
        "description": "The same, for a browser's EventSource, which cannot set headers.",
    },
}
#: `calotype up` needs no key on the machine itself while every provider is free (docs/access.md).
_CALLERS: list[dict[str, list[str]]] = [{"key": []}, {}]
TOKEN_HOLDERS: list[dict[str, list[str]]] = [{"key": []}, {"clientToken": []}, {}]
WATCHERS: list[dict[str, list[str]]] = [{"key": []}, {"clientToken": []}, {"clientTokenInAddress": []}, {}]
AFTER = parameter(
    "after", "query", "The same, where headers cannot be set.", type="integer", minimum=0, maximum=10**18 - 1
)


def filters() -> list[dict[str, Any]]:
    """The query parameters of the list of jobs."""
    schema = ListJobs.model_json_schema()
    written = []
    for name, shape in schema["properties"].items():
        described = str(shape.pop("description", ""))
        if name == "metadata":
            words = "Jobs whose metadata holds this value under KEY; may be given for up to 16 keys."
            written.append(parameter("metadata.KEY", "query", words, type="string", maxLength=500, pattern=ONE_LINE))
        else:
            written.append(parameter(name, "query", described, **shape))
    return written


def document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What makes the app's document, once."""

    def make() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(
                    title="Calotype",
                    version=CONTRACT_VERSION,
                    summary="Image-generation jobs that are paid for once and never lost.",
                    routes=app.routes,
                )
            )
        return app.openapi_schema

    return make


def _complete(written: dict[str, Any]) -> dict[str, Any]:
    _, definitions = models_json_schema(
        [
            (CreateJob, "validation"),
            (RetryJob, "validation"),
            (CreateClientToken, "validation"),
            (ImageParameters, "validation"),
            (ProblemView, "serialization"),
            (ProgressView, "serialization"),
            (OpenAIErrorBody, "serialization"),
        ],
        ref_template=_REF,
    )
    components = written.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions["$defs"])
    components["securitySchemes"] = _SCHEMES
    # FastAPI adds its own shape of a 422 where a route names none; no route answers so.
    for own in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(own, None)
    for path, operations in written["paths"].items():
        for operation in operations.values():
            _complete_operation(operation, keyed=path.startswith("/v1/"))
    return written


def _complete_operation(operation: dict[str, Any], *, keyed: bool) -> None:
    if keyed:
        operation.setdefault("security", _CALLERS)
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", ()):
        del responses["422"]
    name = operation["operationId"]
    for shape in operation.get("requestBody", {}).get("content", {}).values():
        shape["example"] = examples.BODIES[name]
    for status, told in responses.items():
        for kind, shape in told.get("content", {}).items():
            shape["example"] = _example(operation, status, kind)


def _example(operation: dict[str, Any], status: str, kind: str) -> Any:
    name = operation["operationId"]
    if kind == MEDIA_TYPE:
        return examples.PROBLEMS[status]
    if "openai" in operation.get("tags", ()) and status >= "400":
        return openai_examples.ERRORS[status]
    return examples.STREAMS[name] if kind == "text/event-stream" else examples.ANSWERS[name, status]
