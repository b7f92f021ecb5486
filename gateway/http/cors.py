"""CORS: which pages of other origins may read answers, as the keys file says of each tenant. Never with credentials."""

from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from gateway.auth.keyring import Principal

#: Seconds for which a browser may remember a preflight; short, as the keys file may change.
REMEMBERED_SECONDS = 600
_METHODS = "GET, POST, PATCH, DELETE"
#: The star covers what clients add of their own; it never covers Authorization, and old browsers do not know it.
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
    """The answer to a preflight, which carries no key, from an origin that some tenant allows; None for all else."""
    if method != "OPTIONS" or "access-control-request-method" not in sent:
        return None
    if (allowed := allowed_origin(sent.get("origin", ""))) is None:
        return None
    headers = {
        "Access-Control-Allow-Origin": allowed,
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
        "Access-Control-Max-Age": str(REMEMBERED_SECONDS),
    }
    return Response(status_code=204, headers=headers)


def mark(headers: MutableHeaders, *, origin: str | None, principal: Principal | None) -> None:
    """Let a page of the origin read this answer if the caller's tenant allows it."""
    headers.add_vary_header("Origin")
    if origin is None or principal is None or (allowed := principal.allowed_origin(origin)) is None:
        return
    headers["Access-Control-Allow-Origin"] = allowed
    headers["Access-Control-Expose-Headers"] = _EXPOSED
