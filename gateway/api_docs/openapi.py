"""What routes declare of themselves for the OpenAPI document: parameters, bodies, responses and who may call them."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from gateway.api_docs import assembly
from gateway.api_docs.assembly import REF
from gateway.auth.authenticator import TOKEN_PARAMETER
from gateway.openai_images.image_references import EditParameters
from gateway.openai_images.schemas import CompletedView, ImageParameters, OpenAIErrorBody
from gateway.problems.problem import MEDIA_TYPE
from gateway.schemas.jobs import JobView, ProgressView
from gateway.schemas.problems import ProblemView
from gateway.schemas.queries import ListJobs
from gateway.schemas.requests import SINGLE_LINE

#: Version of the contract, which changes less often than that of the program.
CONTRACT_VERSION = "1.0.0"
_DESCRIPTION = """\
A job makes 1 to 10 images with one provider. `POST /v1/jobs` stores the job before it responds, so the job survives \
every crash, and no image is paid for twice unless the caller agrees.

- **Keys**: send `Authorization: Bearer KEY`. A page in a browser gets a client token for one job instead.
- **Idempotency**: send an `Idempotency-Key` with each POST. The same key with the same body gives the same job.
- **Results**: hold the request (`Prefer: wait`), poll after `display.poll_after_ms`, or follow the event stream.
- **Errors**: `application/problem+json` (RFC 9457); `reason` says why, and `type` is a page that explains it.
- **Times** are UTC in RFC 3339. **Money** is in millionths (`..._micros`). Every key of a response is present; null \
means that there is no value.
"""
_TAGS = {
    "jobs": "Submit, read, follow, cancel, retry and delete jobs.",
    "client tokens": "Tokens with which a page in a browser reads one job.",
    "webhooks": "URLs that events are posted to, their secrets, and the deliveries to them.",
    "catalogue": "Providers that jobs can name, and the states that a frontend shows.",
    "openai": "Images and models as OpenAI's clients call them.",
    "admin": "For operators: the queue, dead letters, provider limits, spend, jobs of any tenant.",
    "health": "Liveness and readiness of the gateway; needs no key.",
}
_PURPOSE = {
    400: "The request cannot be read.",
    401: "There is no key or token, or it is unknown or has expired.",
    402: "The tenant's budget does not cover the job; `Retry-After` is the start of the next day or month.",
    403: "The caller may not do this. A client token allows only its own job and actions.",
    404: "It does not exist, or belongs to another tenant.",
    409: "The state does not allow this; `job` is the job as it is now, where it is about a job.",
    410: "The job that the Idempotency-Key made was deleted.",
    413: "The body is too large.",
    415: "The media type of the body is not supported.",
    422: "A field is wrong; `errors` names each.",
    429: "The tenant's quota is used up; `Retry-After` says when to repeat the request.",
    500: "A defect of the service.",
    502: "The provider refuses what the operator configured.",
    503: "The service cannot serve the request now; `Retry-After` says when to repeat it.",
    504: "The job takes longer than a request is held, and goes on; or it failed because its provider was too slow.",
}
#: Statuses of every call that needs a key.
_ALWAYS = (401, 403, 429, 500, 503)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the problem details that a route declares: these statuses, and those of every call that needs a key."""
    return _errors(ProblemView, MEDIA_TYPE, statuses)


def openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the errors that an OpenAI-compatible route declares: these statuses, and those of every keyed call."""
    return _errors(OpenAIErrorBody, "application/json", statuses)


def _errors(model: type[BaseModel], media_type: str, statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": _PURPOSE[status], "content": {media_type: {"schema": _ref(model)}}}
        for status in sorted({*statuses, *_ALWAYS})
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _stream(events: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Returns the content of an event stream. OpenAPI 3.1 has no schema for events: `x-events` has them, by name.

    The stream's schema has no type: tools read it as the schema of each event.
    """
    schema = {"description": "Server-sent events; `x-events` has the schema of their data, by event name."}
    return {"text/event-stream": {"schema": schema, "x-events": {name: _ref(model) for name, model in events.items()}}}


#: The event stream of a job.
EVENTS = _stream({"job": JobView, "progress": ProgressView})


def openai_responses() -> dict[int | str, dict[str, Any]]:
    """Returns the responses of the calls that make images."""
    events = {"image_generation.completed": CompletedView, "image_edit.completed": CompletedView}
    made = success("The images of the job; with `stream` one event for each.", headers=("x-calotype-job-id",))
    return {200: made | {"content": _stream(events)}, **openai_errors(400, 404, 409, 410, 413, 415, 502, 504)}


def openai_body(*, form: bool) -> dict[str, Any]:
    """Returns the request body of the calls that make images: JSON; with `form` also a form with files."""
    if form:
        content = {
            "multipart/form-data": {"schema": {"$ref": REF.format(model=assembly.EDIT_FORM)}},
            "application/json": {"schema": _ref(EditParameters)},
        }
    else:
        content = {"application/json": {"schema": _ref(ImageParameters)}}
    return {"requestBody": {"required": True, "content": content}}


def success(description: str, *, model: type[BaseModel] | None = None, headers: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns a successful response; `model` if it is not the route's, `headers` are names in `assembly.HEADERS`."""
    written: dict[str, Any] = {"description": description}
    if model is not None:
        written["model"] = model
    if headers:
        written["headers"] = {name: assembly.header(name) for name in headers}
    return written


def body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Returns a JSON request body that the route reads itself."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": _ref(model)}}}}


def parameter(name: str, where: str, description: str, **schema: Any) -> dict[str, Any]:
    """Returns an optional parameter that the route reads itself; `where` is `query` or `header`."""
    return {"name": name, "in": where, "required": False, "description": description, "schema": schema}


IDEMPOTENCY_KEY = parameter(
    "Idempotency-Key",
    "header",
    "Makes repetitions safe: the same key with the same body has the same result, another body is refused. "
    "1 to 255 visible ASCII characters, quoted or not.",
    type="string",
    pattern=r'^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$',
)
PREFER = parameter(
    "Prefer",
    "header",
    "`wait=N` holds the response for up to N seconds (1 to 60) until the job is final.",
    type="string",
)
IF_NONE_MATCH = parameter(
    "If-None-Match",
    "header",
    "ETag of the job that the client has: the response is 304 if it is current. With `Prefer: wait=N` the response "
    "is held until the job changes.",
    type="string",
)
LAST_EVENT_ID = parameter(
    "Last-Event-ID",
    "header",
    "`sequence` of the last `job` event that the client received: only later changes follow. Overrides `after`.",
    type="string",
)
AFTER = parameter(
    "after",
    "query",
    "Same as `Last-Event-ID`, for clients that cannot set headers.",
    type="integer",
    minimum=0,
    maximum=10**18 - 1,
)
_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "Key of a tenant or an operator."},
    "clientToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Client token for one job.",
    },
    "clientTokenInAddress": {
        "type": "apiKey",
        "in": "query",
        "name": TOKEN_PARAMETER,
        "description": "Client token for one job, for a browser's `EventSource`, which cannot set headers.",
    },
}
# `calotype up` needs no key on the machine itself while every provider is free (docs/access.md): hence the `{}`.
_CALLERS: list[dict[str, list[str]]] = [{"key": []}, {}]
TOKEN_HOLDERS: list[dict[str, list[str]]] = [{"key": []}, {"clientToken": []}, {}]
WATCHERS: list[dict[str, list[str]]] = [{"key": []}, {"clientToken": []}, {"clientTokenInAddress": []}, {}]


def filters() -> list[dict[str, Any]]:
    """Returns the query parameters of the list of jobs."""
    metadata = str(ListJobs.model_fields["metadata"].description)
    return [
        *(declared for declared in query_parameters(ListJobs) if declared["name"] != "metadata"),
        parameter("metadata.KEY", "query", metadata, type="string", maxLength=500, pattern=SINGLE_LINE),
    ]


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Returns the query parameters that a route reads itself, one for each field of the model."""
    properties = model.model_json_schema()["properties"]
    return [parameter(name, "query", str(schema.pop("description")), **schema) for name, schema in properties.items()]


def document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Returns the function that makes the app's document, once."""

    def make() -> dict[str, Any]:
        if app.openapi_schema is None:
            written = get_openapi(
                title="Calotype",
                version=CONTRACT_VERSION,
                summary="Image-generation jobs that are paid for once and never lost.",
                description=_DESCRIPTION,
                contact={"name": "The operator of this service"},
                license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
                servers=[{"url": "/", "description": "The gateway that serves this document."}],
                tags=[{"name": name, "description": about} for name, about in _TAGS.items()],
                routes=app.routes,
            )
            app.openapi_schema = assembly.complete(written, security_schemes=_SCHEMES, default_security=_CALLERS)
        return app.openapi_schema

    return make
