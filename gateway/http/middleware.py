"""The outermost middleware: request ids, tracing, security headers, CORS, access log, handling of all exceptions."""

import logging
import re
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from calotype.error_reasons import Reason
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common import tracing
from common.ids import new_uuid7
from common.logs import event
from common.telemetry import registry
from gateway.auth import audit
from gateway.auth.authenticator import principal_of
from gateway.http import cors
from gateway.http.error_responses import respond
from gateway.http.metrics import Metrics
from gateway.job_service import quotas
from gateway.problems.problem import INTERNAL_DETAIL, Problem, malformed
from gateway.views import locales

_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
#: Paths that orchestrators request often; their access log lines are of level DEBUG.
PROBES = frozenset({"/healthz", "/readyz"})
_SERVER_FAULT = 500
#: Methods by which spans are named; others stand as `_OTHER`.
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
#: Headers of every response that does not set them itself.
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SECURITY = tuple((name.lower().encode(), value.encode()) for name, value in SECURITY.items())


def request_id_of(scope: Scope) -> str:
    """Returns the id that `RequestMiddleware` gave to the request."""
    request_id: str = scope["calotype.request_id"]
    return request_id


def instance_of(scope: Scope) -> str:
    """Returns the path without decoding it, so that control characters cannot get into log lines or headers."""
    raw: bytes = scope.get("raw_path") or str(scope["path"]).encode("ascii", "backslashreplace")
    return raw.partition(b"?")[0].decode("ascii", "backslashreplace")[:500]


class RequestMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, allowed_origin: cors.AllowedOrigin, metrics: Metrics) -> None:
        self._app = app
        self._allowed_origin = allowed_origin
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent = headers.get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else new_uuid7().hex
        scope["calotype.request_id"] = request_id
        path = instance_of(scope)
        attributes: tracing.Attributes = {
            registry.HTTP_METHOD: scope["method"] if scope["method"] in _METHODS else "_OTHER",
            registry.URL_PATH: path,
            registry.URL_SCHEME: scope.get("scheme", "http"),
            registry.REQUEST_ID: request_id,
        }
        with tracing.span(registry.HTTP_SERVER, attributes, parent=headers.get("traceparent")) as span:
            response = _ResponseSender(send, scope=scope, origin=headers.get("origin"), metrics=self._metrics)
            try:
                await self._serve(scope, receive, response, headers)
            finally:
                route = _route(scope)
                found: tracing.Attributes = {registry.HTTP_ROUTE: route, registry.HTTP_STATUS: response.status or None}
                span.update_name(registry.HTTP_SERVER.title({**attributes, **found}))
                tracing.set_attributes(found)
                if response.status >= _SERVER_FAULT:
                    tracing.fail(str(response.status))
                response.log(scope["method"], path, route)
                audit.record_request(scope, status=response.status, replayed=response.replayed, request_id=request_id)

    async def _serve(self, scope: Scope, receive: Receive, response: "_ResponseSender", headers: Headers) -> None:
        try:
            if not _is_host(headers.getlist("host")):
                await _send_problem(malformed("The Host header is not a valid host name."), scope, receive, response)
                return
            app = cors.preflight(scope["method"], headers, self._allowed_origin) or self._app
            await app(scope, receive, response.send)
        except Exception:
            # The only place that handles unexpected exceptions; the traceback goes to the log.
            _LOG.exception("request.failed", extra={"path": instance_of(scope), "request_id": request_id_of(scope)})
            if response.status:
                raise
            await _send_problem(Problem(reason=Reason.INTERNAL, detail=INTERNAL_DETAIL), scope, receive, response)


async def _send_problem(problem: Problem, scope: Scope, receive: Receive, response: "_ResponseSender") -> None:
    audit.note_reason(scope, problem.reason)
    body = respond(problem, instance=instance_of(scope), request_id=request_id_of(scope))
    await body(scope, receive, response.send)


def _is_host(header_values: Iterable[str]) -> bool:
    """Returns whether there is at most one Host header and it is valid, as links are built from it."""
    hosts = list(header_values)
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


class _ResponseSender:
    """Adds headers to the response, records metrics, and keeps the status for the access log."""

    def __init__(self, send: Send, *, scope: Scope, origin: str | None, metrics: Metrics) -> None:
        self._send = send
        self._scope = scope
        self._origin = origin
        self._metrics = metrics
        self._request_id = request_id_of(scope)
        self._started_at = time.monotonic()
        #: HTTP status of the response; 0 until it has begun.
        self.status = 0
        #: Whether the response repeats that of an earlier request with the same Idempotency-Key.
        self.replayed = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            self.replayed = "Idempotency-Replayed" in headers
            present = {name for name, _ in headers.raw}
            headers.raw.extend(header for header in _SECURITY if header[0] not in present)
            headers["X-Request-Id"] = self._request_id
            principal = principal_of(self._scope)
            locales.add_headers(headers, scope=self._scope)
            cors.add_headers(headers, origin=self._origin, principal=principal)
            quotas.add_headers(headers, scope=self._scope, principal=principal)
            if (trace := tracing.traceparent()) is not None:
                headers["traceparent"] = trace
            self._metrics.record_response(
                method=self._scope["method"], route=_route(self._scope), status=self.status, seconds=self._seconds()
            )
        await self._send(message)

    def log(self, method: str, path: str, route: str) -> None:
        event(
            _LOG,
            logging.DEBUG if path in PROBES else logging.INFO,
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
        return time.monotonic() - self._started_at
