"""HTML pages: the API documentation, and an explanation of each problem type."""

from calotype.error_reasons import Reason
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from gateway.api_docs import html
from gateway.http.middleware import SECURITY
from gateway.problems.problem import Problem
from gateway.problems.reasons import REASONS, slug

router = APIRouter(include_in_schema=False)
_REASON_BY_SLUG = {slug(reason): reason for reason in REASONS}
#: The usual policy, except that these pages contain their style sheet.
_POLICY = f"{SECURITY['Content-Security-Policy']}; style-src {html.STYLE_SOURCE}"
_HEADERS = {"Content-Security-Policy": _POLICY}
#: The documentation also has a script, which sends requests to this gateway alone and makes no HTML from text.
_SCRIPTED = {
    "Content-Security-Policy": f"{_POLICY}; script-src 'self'; connect-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
}


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Returns the documentation of every call, generated from the OpenAPI document."""
    return HTMLResponse(html.documentation(request.app.openapi()), headers=_SCRIPTED)


@router.get(html.SCRIPT_PATH)
async def script() -> Response:
    """Returns the script of the documentation, which sends requests from the page."""
    return Response(html.SCRIPT, media_type="text/javascript")


@router.get("/problems/{name}")
async def problem(name: str) -> HTMLResponse:
    """Explains a problem type and what to do."""
    if name not in _REASON_BY_SLUG:
        raise Problem(reason=Reason.NOT_FOUND, detail="There is no problem type with this name.")
    return HTMLResponse(html.problem(_REASON_BY_SLUG[name]), headers=_HEADERS)
