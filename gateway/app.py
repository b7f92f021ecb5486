"""The application: routes, the edge around them, and every error as a refusal."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.dependencies import Dependencies
from gateway.http.error_responses import respond
from gateway.http.middleware import Edge, instance_of, request_id_of
from gateway.problems.problem import Problem, Violation, invalid
from gateway.routes import (
    admin,
    catalogue,
    client_tokens,
    events,
    health,
    job_actions,
    jobs,
    openai_images,
    openai_models,
    pages,
)

#: The edge traces every request; the framework's own spans would repeat it, with the query, which may hold a token.
_OFF: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
_NO_PAGE, _NO_METHOD = 404, 405
_NOUNS = (jobs, job_actions, events, client_tokens, catalogue, openai_images, openai_models, admin, health, pages)


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
    for noun in _NOUNS:
        app.include_router(noun.router)
    app.add_middleware(Edge, allowed_origin=deps.authenticator.allowed_origin, metrics=deps.metrics)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.openapi = openapi.document(app)  # type: ignore[method-assign]
    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router says by itself: no such page, or no such method there."""
    assert isinstance(error, HTTPException)
    words = {_NO_PAGE: "There is no such page.", _NO_METHOD: f"{request.method} is not possible here."}
    problem = Problem(
        reason="NOT_FOUND" if error.status_code in words else "MALFORMED",
        detail=words.get(error.status_code, "The request cannot be served."),
        status=error.status_code,
        headers={"Allow": _allowed(request)} if error.status_code == _NO_METHOD else dict(error.headers or {}),
    )
    return _answer(request, problem)


def _allowed(request: Request) -> str:
    """Every method that the page has; the router would name those of its first route alone."""
    routes = [*request.app.routes, *(route for noun in _NOUNS for route in noun.router.routes)]
    found = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return ", ".join(sorted({method for route in found for method in route.methods or ()}))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [
        Violation(field=".".join(map(str, one["loc"][1:])) or "request", message=one["msg"]) for one in error.errors()
    ]
    return _answer(request, invalid(wrong))


def _answer(request: Request, problem: Problem) -> Response:
    audit.note_reason(request.scope, problem.reason)
    return respond(problem, instance=instance_of(request.scope), request_id=request_id_of(request.scope))
