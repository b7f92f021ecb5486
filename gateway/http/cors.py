"""CORS: lets pages of the origins in the keys file read responses, for each tenant; never with credentials."""

from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from gateway.auth.keyring import Principal

#: Seconds for which a browser may cache a preflight response; short, as the keys file may change.
PREFLIGHT_CACHE_SECONDS = 600
_METHODS = "GET, POST, PATCH, DELETE"
#: The star allows headers that clients add; it never covers Authorization, and old browsers do not support it.
_REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, X-Request-Id, traceparent, *"
)
_EXPOSED = ", ".join(
    (
        "ETag",
        "Location",
        "Retry-After",
        "Idempotency-Key",
        "Idempotency-Replayed",
        "Preference-Applied",
        "X-Request-Id",
        "RateLimit",
        "RateLimit-Policy",
        "x-calotype-job-id",
    )
)
AllowedOrigin = Callable[[str], str | None]


def preflight(method: str, sent: Headers, allowed_origin: AllowedOrigin) -> Response | None:
    """Returns the response to a preflight, which carries no key, from an origin that any tenant allows; else None."""
    if method != "OPTIONS" or "access-control-request-method" not in sent:
        return None
    if (allowed := allowed_origin(sent.get("origin", ""))) is None:
        return None
    headers = {
        "Access-Control-Allow-Origin": allowed,
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_CACHE_SECONDS),
    }
    return Response(status_code=204, headers=headers)


def add_headers(headers: MutableHeaders, *, origin: str | None, principal: Principal | None) -> None:
    """Adds the headers that let a page of the origin read this response, if the principal's tenant allows it."""
    headers.add_vary_header("Origin")
    if origin is None or principal is None or (allowed := principal.allowed_origin(origin)) is None:
        return
    headers["Access-Control-Allow-Origin"] = allowed
    headers["Access-Control-Expose-Headers"] = _EXPOSED
