"""The calls of the API, after the request was authorized."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from cli.stack.object_store import names, uploads
from cli.stack.object_store.access import Access
from cli.stack.object_store.content import Incoming
from cli.stack.object_store.description import Description, parse_description
from cli.stack.object_store.http import LARGEST_OBJECT, ApiError, HttpRequest, Response, json_response
from cli.stack.object_store.index import PreconditionFailed, StoredObject
from cli.stack.object_store.serving import object_response
from cli.stack.object_store.store import Missing, Store
from cli.stack.object_store.uploads import Multipart

P = ParamSpec("P")
T = TypeVar("T")
#: Objects of a page; there are never more.
MOST_LISTED = 1000
NAMES_ALONE = "items(name),nextPageToken"


class Calls:
    """The calls; each method gets the request and the names in its path, and raises `ApiError`."""

    def __init__(self, store: Store, access: Access, threads: ThreadPoolExecutor) -> None:
        self._store = store
        self._access = access
        self._threads = threads

    async def bucket(self, request: HttpRequest, bucket: str) -> Response:
        """Describe a bucket."""
        return json_response({"kind": "storage#bucket", "id": bucket, "name": bucket})

    async def objects(self, request: HttpRequest, bucket: str) -> Response:
        """List a page of a bucket's objects, in the byte order of their names."""
        asked = request.parameters
        limit = min(number_parameter(asked, "maxResults") or MOST_LISTED, MOST_LISTED)
        prefix = asked.get("prefix", "")
        ends = [one for one in (names.prefix_end(prefix), asked.get("endOffset")) if one]
        found = await self._run(
            self._store.page,
            bucket,
            start=max(prefix, asked.get("startOffset", "")),
            after=_name_in(asked.get("pageToken", "")),
            end=min(ends, default=None),
            # One more than the page, to know whether there is another.
            limit=limit + 1,
        )
        page: dict[str, object] = {"kind": "storage#objects"}
        if len(found) > limit:
            found = found[:limit]
            page["nextPageToken"] = base64.urlsafe_b64encode(found[-1].name.encode()).decode()
        if found:
            fields = asked.get("fields")
            page["items"] = [{"name": one.name} if fields == NAMES_ALONE else resource(one) for one in found]
        return json_response(page)

    async def object(self, request: HttpRequest, bucket: str, name: str) -> Response:
        """Describe an object, or with `alt=media` send its bytes."""
        if request.parameters.get("alt", "json") == "media":
            return await self.media(request, bucket, name)
        return json_response(resource(await self._run(self._store.stat, bucket, name)))

    async def media(self, request: HttpRequest, bucket: str, *parts: str) -> Response:
        """Send the bytes of an object."""
        found, file = await self._run(self._store.open, bucket, "/".join(parts))
        return object_response(request, found, file, is_public=self._access.buckets[bucket].is_public)

    async def delete(self, request: HttpRequest, bucket: str, name: str) -> Response:
        """Delete an object."""
        match = number_parameter(request.parameters, "ifGenerationMatch")
        await self._run(self._store.delete, bucket, name, generation_match=match)
        return Response(status=204)

    async def rewrite(self, request: HttpRequest, bucket: str, name: str, to_bucket: str, to_name: str) -> Response:
        """Copy an object; a description in the body takes the place of the source's."""
        given = await request.json()
        description = parse_description(given) if given else None
        copied = await self._run(
            self._store.copy,
            (bucket, name),
            (to_bucket, to_name),
            description,
            source_generation=number_parameter(request.parameters, "sourceGeneration"),
            generation_match=number_parameter(request.parameters, "ifGenerationMatch"),
        )
        size = str(copied.size)
        done = {"kind": "storage#rewriteResponse", "done": True, "objectSize": size, "totalBytesRewritten": size}
        return json_response(done | {"resource": resource(copied)})

    async def upload(self, request: HttpRequest, bucket: str) -> Response:
        """Upload an object, or begin a resumable upload."""
        form, asked = request.parameters.get("uploadType"), request.parameters
        match = number_parameter(asked, "ifGenerationMatch")
        if form == "resumable":
            return await self._begin_upload(request, bucket, match)
        if form == "multipart":
            parts = Multipart(request.header("content-type"))
            incoming = await self._receive(request, parts)
            description = _parse_description(incoming, parts)
        elif form == "media":
            description = parse_description({"name": asked.get("name"), "contentType": request.header("content-type")})
            incoming = await self._receive(request, None)
        else:
            raise ApiError(400, "There is no such form of uploads.")
        return await self._put(
            bucket, incoming, description, match, uploads.parse_hashes(request.header("x-goog-hash"))
        )

    async def resume(self, request: HttpRequest, bucket: str) -> Response:
        """Receive the bytes of a resumable upload, in one request."""
        description, match = uploads.read_upload_id(request.parameters.get("upload_id", ""))
        size = uploads.content_range_size(request.header("content-range"))
        incoming = await self._receive(request, None)
        if size is not None and incoming.size != size:
            incoming.discard()
            raise ApiError(400, "The upload is not as long as it was said to be.")
        return await self._put(
            bucket, incoming, description, match, uploads.parse_hashes(request.header("x-goog-hash"))
        )

    async def _begin_upload(self, request: HttpRequest, bucket: str, match: int | None) -> Response:
        found = await request.json()
        given = {"name": request.parameters.get("name", ""), "contentType": request.header("x-upload-content-type")}
        await self._run(names.valid_name, parse_description(given | found).name)
        length = request.header("x-upload-content-length")
        if length.isdecimal() and int(length[:15]) > LARGEST_OBJECT:
            raise ApiError(413, f"An object has at most {LARGEST_OBJECT} bytes.")
        upload_id = uploads.make_upload_id(given | found, generation_match=match)
        address = f"http://{request.host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload_id}"
        return json_response({}, headers={"Location": address})

    async def _receive(self, request: HttpRequest, parts: Multipart | None) -> Incoming:
        if request.header("content-encoding"):
            raise ApiError(400, "Encoded content is not taken.")
        incoming = await self._run(self._store.begin)
        try:
            async for piece in uploads.object_chunks(request, parts):
                await self._run(incoming.write, piece)
        except BaseException:
            incoming.discard()
            raise
        return incoming

    async def _put(
        self, bucket: str, incoming: Incoming, description: Description, match: int | None, sent: Mapping[str, str]
    ) -> Response:
        found = {"crc32c": incoming.digests.crc32c, "md5": incoming.digests.md5}
        if any(found[kind] != digest for kind, digest in (*description.digests.items(), *sent.items())):
            incoming.discard()
            raise ApiError(400, "The bytes do not have the digest that was named.")
        written = await self._run(self._store.put, incoming, bucket, description, generation_match=match)
        return json_response(resource(written))

    async def _run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: work(*arguments, **named))
        except Missing:
            raise ApiError(404, "No such object.") from None
        except names.InvalidName as error:
            raise ApiError(400, str(error)) from None
        except PreconditionFailed:
            raise ApiError(412, "At least one of the pre-conditions you specified did not hold.") from None


def number_parameter(parameters: Mapping[str, str], name: str) -> int | None:
    """A parameter that is a whole number; None when there is none. Raises `ApiError`."""
    text = parameters.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise ApiError(400, f"{name} is not a number.")
    return int(text)


def resource(one: StoredObject) -> dict[str, Any]:
    """The JSON of an object."""
    optional = {"cacheControl": one.cache_control, "metadata": dict(one.metadata)}
    return {
        "kind": "storage#object",
        "id": f"{one.bucket}/{one.name}/{one.generation}",
        "name": one.name,
        "bucket": one.bucket,
        "generation": str(one.generation),
        "metageneration": "1",
        "contentType": one.content_type,
        "storageClass": "STANDARD",
        "size": str(one.size),
        "md5Hash": one.md5,
        "crc32c": one.crc32c,
        "etag": base64.b64encode(str(one.generation).encode()).decode(),
        **{key: value for key, value in optional.items() if value},
    }


def _parse_description(incoming: Incoming, parts: Multipart) -> Description:
    try:
        return parts.description()
    except ApiError:
        incoming.discard()
        raise


def _name_in(page_token: str) -> str:
    try:
        return base64.b64decode(page_token, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise ApiError(400, "The page token is not one of this list.") from None
