"""The calls of the API, made after a request was authorized."""

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
#: Largest number of objects in a page.
PAGE_LIMIT = 1000
#: The only value of `fields` that has an effect: objects are listed by name alstored.
NAMES_ALONE = "items(name),nextPageToken"


class Calls:
    """One method per call: it gets the request and the names in its path, and raises `ApiError`."""

    def __init__(self, store: Store, access: Access, threads: ThreadPoolExecutor) -> None:
        self._store = store
        self._access = access
        self._threads = threads

    async def bucket(self, request: HttpRequest, bucket: str) -> Response:
        """Describes a bucket."""
        return json_response({"kind": "storage#bucket", "id": bucket, "name": bucket})

    async def objects(self, request: HttpRequest, bucket: str) -> Response:
        """Lists a page of a bucket's objects, in the byte order of their names."""
        parameters = request.parameters
        limit = min(number_parameter(parameters, "maxResults") or PAGE_LIMIT, PAGE_LIMIT)
        prefix = parameters.get("prefix", "")
        ends = [end for end in (names.prefix_end(prefix), parameters.get("endOffset")) if end]
        objects = await self._run(
            self._store.page,
            bucket,
            start=max(prefix, parameters.get("startOffset", "")),
            after=_name_in(parameters.get("pageToken", "")),
            end=min(ends, default=None),
            # One more than the page, to see whether there is another page.
            limit=limit + 1,
        )
        page: dict[str, object] = {"kind": "storage#objects"}
        if len(objects) > limit:
            objects = objects[:limit]
            page["nextPageToken"] = base64.urlsafe_b64encode(objects[-1].name.encode()).decode()
        if objects:
            only_names = parameters.get("fields") == NAMES_ALONE
            page["items"] = [{"name": stored.name} if only_names else resource(stored) for stored in objects]
        return json_response(page)

    async def object(self, request: HttpRequest, bucket: str, name: str) -> Response:
        """Describes an object, or with `alt=media` sends its bytes."""
        if request.parameters.get("alt", "json") == "media":
            return await self.media(request, bucket, name)
        return json_response(resource(await self._run(self._store.stat, bucket, name)))

    async def media(self, request: HttpRequest, bucket: str, *parts: str) -> Response:
        """Sends the bytes of an object."""
        stored, file = await self._run(self._store.open, bucket, "/".join(parts))
        return object_response(request, stored, file, is_public=self._access.buckets[bucket].is_public)

    async def delete(self, request: HttpRequest, bucket: str, name: str) -> Response:
        """Deletes an object."""
        match = number_parameter(request.parameters, "ifGenerationMatch")
        await self._run(self._store.delete, bucket, name, generation_match=match)
        return Response(status=204)

    async def rewrite(self, request: HttpRequest, bucket: str, name: str, to_bucket: str, to_name: str) -> Response:
        """Copies an object; a description in the body replaces that of the source."""
        body = await request.json()
        description = parse_description(body) if body else None
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
        """Stores an uploaded object, or begins a resumable upload."""
        form, parameters = request.parameters.get("uploadType"), request.parameters
        match = number_parameter(parameters, "ifGenerationMatch")
        if form == "resumable":
            return await self._begin_upload(request, bucket, match)
        if form == "multipart":
            parts = Multipart(request.header("content-type"))
            incoming = await self._receive(request, parts)
            description = _parse_description(incoming, parts)
        elif form == "media":
            description = parse_description(
                {"name": parameters.get("name"), "contentType": request.header("content-type")}
            )
            incoming = await self._receive(request, None)
        else:
            raise ApiError(400, "There is no such uploadType.")
        return await self._put(
            bucket, incoming, description, match, uploads.parse_hashes(request.header("x-goog-hash"))
        )

    async def resume(self, request: HttpRequest, bucket: str) -> Response:
        """Stores the bytes of a resumable upload, sent in one request."""
        description, match = uploads.read_upload_id(request.parameters.get("upload_id", ""))
        size = uploads.content_range_size(request.header("content-range"))
        incoming = await self._receive(request, None)
        if size is not None and incoming.size != size:
            incoming.discard()
            raise ApiError(400, "The upload does not have the length of its Content-Range.")
        return await self._put(
            bucket, incoming, description, match, uploads.parse_hashes(request.header("x-goog-hash"))
        )

    async def _begin_upload(self, request: HttpRequest, bucket: str, match: int | None) -> Response:
        body = await request.json()
        from_request = {
            "name": request.parameters.get("name", ""),
            "contentType": request.header("x-upload-content-type"),
        }
        await self._run(names.valid_name, parse_description(from_request | body).name)
        length = request.header("x-upload-content-length")
        if length.isdecimal() and int(length[:15]) > LARGEST_OBJECT:
            raise ApiError(413, f"An object has at most {LARGEST_OBJECT} bytes.")
        upload_id = uploads.make_upload_id(from_request | body, generation_match=match)
        address = f"http://{request.host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload_id}"
        return json_response({}, headers={"Location": address})

    async def _receive(self, request: HttpRequest, parts: Multipart | None) -> Incoming:
        if request.header("content-encoding"):
            raise ApiError(400, "Encoded content is not accepted.")
        incoming = await self._run(self._store.begin)
        try:
            async for chunk in uploads.object_chunks(request, parts):
                await self._run(incoming.write, chunk)
        except BaseException:
            incoming.discard()
            raise
        return incoming

    async def _put(
        self, bucket: str, incoming: Incoming, description: Description, match: int | None, hashes: Mapping[str, str]
    ) -> Response:
        """Makes an object of an uploaded file; `hashes` are the digests, by kind, that the header names."""
        actual = {"crc32c": incoming.digests.crc32c, "md5": incoming.digests.md5}
        if any(actual[kind] != digest for kind, digest in (*description.digests.items(), *hashes.items())):
            incoming.discard()
            raise ApiError(400, "The bytes do not have the digest that the request names.")
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
    """The value of a parameter that must be a whole number; None when it is absent. Raises `ApiError`."""
    text = parameters.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise ApiError(400, f"{name} is not a number.")
    return int(text)


def resource(stored: StoredObject) -> dict[str, Any]:
    """An object as the API's JSON has it."""
    optional = {"cacheControl": stored.cache_control, "metadata": dict(stored.metadata)}
    return {
        "kind": "storage#object",
        "id": f"{stored.bucket}/{stored.name}/{stored.generation}",
        "name": stored.name,
        "bucket": stored.bucket,
        "generation": str(stored.generation),
        "metageneration": "1",
        "contentType": stored.content_type,
        "storageClass": "STANDARD",
        "size": str(stored.size),
        "md5Hash": stored.md5,
        "crc32c": stored.crc32c,
        "etag": base64.b64encode(str(stored.generation).encode()).decode(),
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
        raise ApiError(400, "The page token is not of this list.") from None
