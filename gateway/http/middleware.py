"""The outermost layer: ids, trace, security headers, CORS, one access line per request, no exception that gets out."""

import logging
import re
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common import tracing
from common.ids import new_uuid7
from common.logs import event
from gateway.auth import audit
from gateway.auth.authenticator import principal_of
from gateway.http import cors
from gateway.http.error_responses import respond
from gateway.http.metrics import Metrics
from gateway.job_service import quotas
from gateway.problems.problem import Problem, malformed
from gateway.views import locales

_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
#: What orchestrators ask, often.
QUIET = frozenset({"/healthz", "/readyz"})
_SERVER_FAULT = 500
#: For every answer that does not say otherwise.
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def request_id_of(scope: Scope) -> str:
    """The id of a request that came through the edge."""
    written: str = scope["calotype.request_id"]
    return written


def instance_of(scope: Scope) -> str:
    """The path as it was sent, so that nothing decoded gets into a line or a header."""
    raw: bytes = scope.get("raw_path") or str(scope["path"]).encode("ascii", "backslashreplace")
    return raw.partition(b"?")[0].decode("ascii", "backslashreplace")[:500]


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, allowed_origin: cors.AllowedOrigin, metrics: Metrics) -> None:
        self._app = app
        self._allowed_origin = allowed_origin
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent = headers.get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else new_uuid7().hex
        scope["calotype.request_id"] = request_id
        path = instance_of(scope)
        with tracing.span(
            scope["method"],
            kind=SpanKind.SERVER,
            parent=headers.get("traceparent"),
            attributes={"http.request.method": scope["method"], "url.path": path, "calotype.request_id": request_id},
        ) as span:
            answer = _Answer(send, scope=scope, origin=headers.get("origin"), metrics=self._metrics)
            try:
                await self._serve(scope, receive, answer, headers)
            finally:
                route = _route(scope)
                span.update_name(f"{scope['method']} {route or 'unknown'}")
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", answer.status)
                if answer.status >= _SERVER_FAULT:
                    span.set_status(Status(StatusCode.ERROR, str(answer.status)))
                answer.log(scope["method"], path, route)
                audit.decided(scope, status=answer.status, replayed=answer.replayed, request_id=request_id)

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer", headers: Headers) -> None:
        try:
            if not _is_host(headers.getlist("host")):
                await _tell(malformed("The Host header is not a host."), scope, receive, answer)
                return
            app = cors.preflight(scope["method"], headers, self._allowed_origin) or self._app
            await app(scope, receive, answer.send)
        except Exception:
            # The one place where what nobody expected becomes an answer; its trace goes to the log.
            _LOG.exception("request.failed", extra={"path": instance_of(scope), "request_id": request_id_of(scope)})
            if answer.status:
                raise
            detail = "The service failed in a way that it should not; its log tells more."
            await _tell(Problem(reason="INTERNAL", detail=detail), scope, receive, answer)


async def _tell(problem: Problem, scope: Scope, receive: Receive, answer: "_Answer") -> None:
    audit.note_reason(scope, problem.reason)
    response = respond(problem, instance=instance_of(scope), request_id=request_id_of(scope))
    await response(scope, receive, answer.send)


def _is_host(sent: Iterable[str]) -> bool:
    """Links are built from it, so it must be one, and one only."""
    hosts = list(sent)
    if not hosts:
        return True
    if len(hosts) > 1 or not _HOST.fullmatch(hosts[0]):
        return False
    try:
        return urlsplit(f"http://{hosts[0]}").port is not None or True
    except ValueError:
        return False


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "")


class _Answer:
    """Adds headers to what is sent, counts it, and remembers the status for the access line."""

    def __init__(self, send: Send, *, scope: Scope, origin: str | None, metrics: Metrics) -> None:
        self._send = send
        self._scope = scope
        self._origin = origin
        self._metrics = metrics
        self._request_id = request_id_of(scope)
        self._began = time.monotonic()
        self.status = 0
        self.replayed = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            self.replayed = "Idempotency-Replayed" in headers
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
            headers["X-Request-Id"] = self._request_id
            principal = principal_of(self._scope)
            locales.mark(headers, scope=self._scope)
            cors.mark(headers, origin=self._origin, principal=principal)
            quotas.mark(headers, scope=self._scope, principal=principal)
            if (trace := tracing.traceparent()) is not None:
                headers["traceparent"] = trace
            self._metrics.answered(
                method=self._scope["method"], route=_route(self._scope), status=self.status, seconds=self._seconds()
            )
        await self._send(message)

    def log(self, method: str, path: str, route: str) -> None:
        event(
            _LOG,
            logging.DEBUG if path in QUIET else logging.INFO,
            "request.answered",
            method=method,
            path=path,
            route=route,
            status=self.status,
            duration_ms=round(self._seconds() * 1000, 1),
            request_id=self._request_id,
            **audit.actor_of(self._scope).fields(),
        )

    def _seconds(self) -> float:
        return time.monotonic() - self._began
