"""The ASGI application: checks the host, authenticates, authorizes, routes. Calls without a route are refused."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from starlette.types import Receive, Scope, Send

from cli.stack.object_store.access import Access, Permission
from cli.stack.object_store.calls import Calls
from cli.stack.object_store.http import (
    SAFE,
    ApiError,
    ClientDisconnected,
    HttpRequest,
    Response,
    error_response,
    is_allowed_host,
)
from cli.stack.object_store.store import Store

_LOG = logging.getLogger(__name__)
READ, LIST, WRITE = Permission.READ, Permission.LIST, Permission.WRITE
#: Bytes of a file that are sent at once.
_CHUNK_BYTES = 256 * 1024
_BUCKET = ("storage", "v1", "b", None)
_OBJECT = (*_BUCKET, "o", None)
_UPLOAD = ("upload", "storage", "v1", "b", None, "o")
_COMMON = frozenset({"prettyPrint", "alt", "projection"})
_ON_CONDITION = _COMMON | {"ifGenerationMatch"}


@dataclass(frozen=True, kw_only=True)
class ApiOperation:
    """A call of the API."""

    #: HTTP methods.
    methods: tuple[str, ...]
    #: Segments of the path; None matches any segment.
    path: tuple[str | None, ...]
    #: Required permissions: index of the bucket among the matched segments, and the permission in that bucket.
    needs: tuple[tuple[int, Permission], ...]
    #: Gets the request and the matched segments.
    call: Callable[..., Awaitable[Response]]
    #: Query parameters that it accepts.
    parameters: frozenset[str] = _COMMON
    #: Whether it needs no credential in a public bucket; then its path may have further segments.
    is_public: bool = False

    def match(self, request: HttpRequest) -> list[str] | None:
        """Returns the segments that None matched, and all further ones; None for a request of another call."""
        path = request.path
        fits_length = len(path) >= len(self.path) if self.is_public else len(path) == len(self.path)
        # A path that ends with a slash names no object.
        if request.method not in self.methods or not fits_length or not path[-1]:
            return None
        if any(expected not in (None, part) for expected, part in zip(self.path, path, strict=False)):
            return None
        return [part for at, part in enumerate(path) if at >= len(self.path) or self.path[at] is None]


class ObjectStoreApi:
    """The ASGI application."""

    def __init__(self, store: Store, access: Access, *, listen: str, threads: ThreadPoolExecutor) -> None:
        self._access = access
        self._listen = listen
        self._threads = threads
        self._routes = _routes(Calls(store, access, threads))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        assert scope["type"] == "http"
        try:
            response = await self._respond(HttpRequest(scope, receive))
        except ApiError as error:
            response = error_response(error)
        except ClientDisconnected:
            return
        except (OSError, sqlite3.Error) as error:
            # A full disk, for example: the client may try again.
            _LOG.warning("%s %r failed: %r", scope["method"], scope["path"], error)
            response = error_response(ApiError(503, "The store cannot do that now."))
        await self._send(response, send, with_body=scope["method"] != "HEAD")

    async def _respond(self, request: HttpRequest) -> Response:
        if not is_allowed_host(request.host, self._listen):
            raise ApiError(403, "The Host header names another host.")
        identity = self._access.identify(request.header("authorization"))
        for route in self._routes:
            matched = route.match(request)
            if matched is not None:
                self._authorize(identity, route, matched)
                if unknown := request.parameters.keys() - route.parameters:
                    raise ApiError(400, f"The parameter {min(unknown)[:80]!r} is not supported here.")
                return await route.call(request, *matched)
        raise _unknown() if identity else _anonymous()

    def _authorize(self, identity: str | None, route: ApiOperation, matched: list[str]) -> None:
        for at, permission in route.needs:
            allowed = self._access.allows(identity, permission, matched[at])
            if identity is None and not (allowed and route.is_public):
                raise _anonymous()
            if matched[at] not in self._access.buckets:
                raise _unknown()
            if not allowed:
                raise ApiError(403, f"{identity} does not have the permission to {permission} in this bucket.")

    async def _send(self, response: Response, send: Send, *, with_body: bool) -> None:
        length = {} if response.file or response.status in (204, 304) else {"Content-Length": str(len(response.body))}
        headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in {**SAFE, **response.headers, **length}.items()]
        try:
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            if response.file is not None and with_body:
                await self._send_file(response.file, response.length, send)
            body = response.body if with_body else b""
            await send({"type": "http.response.body", "body": body, "more_body": False})
        finally:
            if response.file is not None:
                response.file.close()

    async def _send_file(self, file: BinaryIO, remaining: int, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while remaining > 0:
            chunk = await loop.run_in_executor(self._threads, file.read, min(_CHUNK_BYTES, remaining))
            if not chunk:
                raise OSError("A file is shorter than its object.")
            remaining -= len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


def _routes(calls: Calls) -> tuple[ApiOperation, ...]:
    get, put, post, delete = ("GET",), ("PUT",), ("POST",), ("DELETE",)
    offsets = {"prefix", "startOffset", "endOffset", "maxResults", "pageToken", "fields"}
    upload = _ON_CONDITION | {"uploadType", "name"}
    return (
        ApiOperation(methods=get, path=_BUCKET, needs=((0, LIST),), call=calls.bucket),
        ApiOperation(
            methods=get, path=(*_BUCKET, "o"), needs=((0, LIST),), call=calls.objects, parameters=_COMMON | offsets
        ),
        ApiOperation(methods=get, path=_OBJECT, needs=((0, READ),), call=calls.object),
        ApiOperation(methods=get, path=("download", *_OBJECT), needs=((0, READ),), call=calls.media),
        ApiOperation(methods=delete, path=_OBJECT, needs=((0, WRITE),), call=calls.delete, parameters=_ON_CONDITION),
        ApiOperation(
            methods=post,
            path=(*_OBJECT, "rewriteTo", "b", None, "o", None),
            needs=((0, READ), (2, WRITE)),
            call=calls.rewrite,
            parameters=_ON_CONDITION | {"sourceGeneration"},
        ),
        ApiOperation(methods=post, path=_UPLOAD, needs=((0, WRITE),), call=calls.upload, parameters=upload),
        ApiOperation(
            methods=put,
            path=_UPLOAD,
            needs=((0, WRITE),),
            call=calls.resume,
            parameters=_COMMON | {"uploadType", "upload_id"},
        ),
        ApiOperation(methods=("GET", "HEAD"), path=(None, None), needs=((0, READ),), call=calls.media, is_public=True),
    )


def _anonymous() -> ApiError:
    return ApiError(401, "Anonymous caller does not have this permission in this bucket, or it may not exist.")


def _unknown() -> ApiError:
    return ApiError(404, "There is no such call, or no such bucket.")
