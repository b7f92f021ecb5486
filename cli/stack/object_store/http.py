"""Requests and responses of the API: paths, parameters, bounded bodies, errors."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Receive, Scope

#: Sent with every response: a browser neither runs nor sniffs a body, and loads nothing for it.
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Frame-Options": "DENY",
}
#: Bytes of an object; no staged answer of a provider is larger.
LARGEST_OBJECT = 100 * 1024 * 1024
LARGEST_JSON = 64 * 1024
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(?::\d{1,5})?")
_REASONS = {
    400: "invalid",
    401: "required",
    403: "forbidden",
    404: "notFound",
    405: "methodNotAllowed",
    412: "conditionNotMet",
    413: "uploadTooLarge",
    416: "requestedRangeNotSatisfiable",
    503: "backendError",
}


class ApiError(Exception):
    """An error response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ClientGone(Exception):
    """The connection ended before the whole request arrived."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """A response: a body, or `length` bytes of a file from its position; the sender closes the file."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: BinaryIO | None = None
    length: int = 0


class HttpRequest:
    """One request. Raises `ApiError` for an address or parameters that are not well-formed."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self._headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self._receive = receive
        self.path = [_decoded(segment) for segment in scope["raw_path"].decode("latin-1").removeprefix("/").split("/")]
        self.parameters = _parameters(scope["query_string"])

    def header(self, name: str) -> str:
        """A header, by its name in small letters; empty when there is none."""
        return self._headers.get(name, "")

    @property
    def host(self) -> str:
        """The header Host."""
        return self.header("host")

    async def chunks(self, most: int = LARGEST_OBJECT) -> AsyncIterator[bytes]:
        """The body in pieces. Raises `ApiError` when it is longer, `ClientGone` when it breaks off."""
        left = most
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            piece = message.get("body", b"")
            left -= len(piece)
            if left < 0:
                raise ApiError(413, f"The body is longer than {most} bytes.")
            if piece:
                yield piece
            more = message.get("more_body", False)

    async def json(self) -> dict[str, Any]:
        """The body as an object of JSON; empty when there is none. Raises as `chunks`."""
        body = b"".join([piece async for piece in self.chunks(LARGEST_JSON)])
        return parsed(body) if body else {}


def parsed(body: bytes) -> dict[str, Any]:
    """An object of JSON. Raises `ApiError`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ApiError(400, "The body is not a JSON object.")
    return found


def json_response(
    content: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A response of the API."""
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    fixed = {
        "Content-Type": "application/json; charset=UTF-8",
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Response(status=status, headers=fixed | dict(headers or {}), body=body)


def error_response(error: ApiError) -> Response:
    """An error as the API reports it."""
    reason = _REASONS[error.status]
    detail = {"message": error.message, "domain": "global", "reason": reason}
    content = {"error": {"code": error.status, "message": error.message, "errors": [detail]}}
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return json_response(content, status=error.status, headers=headers)


def is_allowed_host(host: str, listen: str) -> bool:
    """Whether a Host header names the loopback of this machine or the address that the server listens at.

    It keeps out pages whose own name resolves to this machine (DNS rebinding).
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].strip("[]").lower()
    if name in ("localhost", listen):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _decoded(segment: str) -> str:
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, "The address is not valid UTF-8.") from None


def _parameters(query: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise ApiError(400, "The parameters cannot be read.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ApiError(400, "A parameter is there twice.")
    return found
