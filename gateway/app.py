"""The ASGI application: the routes, the middleware around them, and the handlers of all errors."""

from calotype.error_reasons import Reason
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.dependencies import Dependencies
from gateway.http.error_responses import respond
from gateway.http.middleware import RequestMiddleware, instance_of, request_id_of
from gateway.problems.problem import Problem, Violation, invalid
from gateway.routes import (
    admin,
    admin_bulk_actions,
    admin_jobs,
    admin_pauses,
    admin_throughput,
    admin_webhooks,
    catalogue,
    client_tokens,
    events,
    health,
    job_actions,
    job_batches,
    jobs,
    openai_images,
    openai_models,
    pages,
    web,
    webhook_deliveries,
    webhook_secrets,
    webhooks,
)

#: `RequestMiddleware` traces every request; FastAPI's own spans would contain the query, which may hold a token.
_OFF: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
_NOT_FOUND, _METHOD_NOT_ALLOWED = 404, 405
_RESOURCES = (
    jobs,
    job_batches,
    job_actions,
    events,
    client_tokens,
    # Before `webhooks`: its paths with an id would match `signing-secret`.
    webhook_secrets,
    webhooks,
    webhook_deliveries,
    catalogue,
    openai_images,
    openai_models,
    admin,
    admin_jobs,
    admin_bulk_actions,
    admin_pauses,
    admin_throughput,
    admin_webhooks,
    health,
    pages,
    web,
)


def create_app(deps: Dependencies) -> FastAPI:
    """The ASGI application, which serves with these dependencies."""
    app = FastAPI(
        title="Calotype",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        telemetry=_OFF,
    )
    app.state.deps = deps
    for resource in _RESOURCES:
        app.include_router(resource.router)
    app.add_middleware(RequestMiddleware, allowed_origin=deps.authenticator.allowed_origin, metrics=deps.metrics)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.openapi = openapi.document(app)  # type: ignore[method-assign]
    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _respond(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    """Handles the errors that the router raises: unknown path, or unknown method of a path."""
    assert isinstance(error, HTTPException)
    details = {
        _NOT_FOUND: "There is no such path. GET /docs lists every call.",
        _METHOD_NOT_ALLOWED: f"This path does not support {request.method}. See the Allow header.",
    }
    problem = Problem(
        reason=Reason.NOT_FOUND if error.status_code in details else Reason.MALFORMED,
        detail=details.get(error.status_code, "The request is not valid."),
        status=error.status_code,
        headers={"Allow": _allowed(request)} if error.status_code == _METHOD_NOT_ALLOWED else dict(error.headers or {}),
    )
    return _respond(request, problem)


def _allowed(request: Request) -> str:
    """Returns all methods of the path; the router would name only those of its first route."""
    routes = [*request.app.routes, *(route for resource in _RESOURCES for route in resource.router.routes)]
    matching = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return ", ".join(sorted({method for route in matching for method in route.methods or ()}))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    violations = [
        Violation(field=".".join(map(str, detail["loc"][1:])) or "request", message=detail["msg"])
        for detail in error.errors()
    ]
    return _respond(request, invalid(violations))


def _respond(request: Request, problem: Problem) -> Response:
    audit.note_reason(request.scope, problem.reason)
    return respond(problem, instance=instance_of(request.scope), request_id=request_id_of(request.scope))
