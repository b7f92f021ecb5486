"""Requests and responses of the API: paths, parameters, bodies with a size limit, errors."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Receive, Scope

from common.network.addresses import is_loopback

#: Headers of every response: a browser neither runs nor sniffs a body, and loads nothing for it.
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Frame-Options": "DENY",
}
#: Largest object in bytes; no staged response of a provider is larger.
LARGEST_OBJECT = 100 * 1024 * 1024
#: Largest body of JSON in bytes.
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
        #: HTTP status, a key of `_REASONS`.
        self.status = status
        #: Text for people.
        self.message = message


class ClientDisconnected(Exception):
    """The connection ended before the whole request arrived."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """A response: a body, or a part of a file."""

    #: HTTP status.
    status: int = 200
    #: Headers, beside those of `SAFE` and the length of a body.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Used when there is no file.
    body: bytes = b""
    #: Sent from its position; the sender closes it.
    file: BinaryIO | None = None
    #: Bytes of the file to send.
    length: int = 0


class HttpRequest:
    """A request. Raises `ApiError` for a path or parameters that are not well-formed."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        #: HTTP method.
        self.method: str = scope["method"]
        self._headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self._receive = receive
        #: Decoded segments of the path.
        self.path = [_decoded(segment) for segment in scope["raw_path"].decode("latin-1").removeprefix("/").split("/")]
        #: Decoded query parameters.
        self.parameters = _parameters(scope["query_string"])

    def header(self, name: str) -> str:
        """The value of a header, by its name in lower case; empty when there is none."""
        return self._headers.get(name, "")

    @property
    def host(self) -> str:
        """The header `Host`."""
        return self.header("host")

    async def chunks(self, limit: int = LARGEST_OBJECT) -> AsyncIterator[bytes]:
        """Yields the body in chunks. Raises `ApiError` above `limit` bytes, and `ClientDisconnected`."""
        remaining = limit
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            remaining -= len(chunk)
            if remaining < 0:
                raise ApiError(413, f"The body is longer than {limit} bytes.")
            if chunk:
                yield chunk
            more = message.get("more_body", False)

    async def json(self) -> dict[str, Any]:
        """Returns the body as a JSON object; empty when there is no body. Raises as `chunks`."""
        body = b"".join([chunk async for chunk in self.chunks(LARGEST_JSON)])
        return parsed(body) if body else {}


def parsed(body: bytes) -> dict[str, Any]:
    """Parses a JSON object. Raises `ApiError`."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ApiError(400, "The body is not a JSON object.")
    return content


def json_response(
    content: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Makes a response with a body of JSON."""
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    common = {
        "Content-Type": "application/json; charset=UTF-8",
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Response(status=status, headers=common | dict(headers or {}), body=body)


def error_response(error: ApiError) -> Response:
    """Makes the response of an error, as Google's API has it."""
    reason = _REASONS[error.status]
    detail = {"message": error.message, "domain": "global", "reason": reason}
    content = {"error": {"code": error.status, "message": error.message, "errors": [detail]}}
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return json_response(content, status=error.status, headers=headers)


def is_allowed_host(host: str, listen: str) -> bool:
    """Whether a Host header names this machine's loopback or the address that the server listens at.

    This refuses web pages whose host name resolves to this machine (DNS rebinding).
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match[1].strip("[]").lower()
    return name == listen or is_loopback(name)


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
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise ApiError(400, "A parameter is given twice.")
    return parameters
