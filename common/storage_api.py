"""Calls of Google Cloud Storage's JSON API, one HTTP request each, for one bucket.

Google's own client for Python takes twice the processor time per request and 30 MB of memory, and asks for the bucket
by itself. A call is made in a thread, inside `bounded_http.within`; it is not repeated here.
"""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import certifi
import google_crc32c
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from common.bounded_http import pool
from common.errors import DependencyUnavailable
from common.storage_credentials import CredentialInvalid, CredentialUnavailable, StorageCredential, find_credential

#: Longest silence of the store within a request, in seconds.
TIMEOUT_SECONDS = 30.0


class StorageUnavailable(DependencyUnavailable):
    """The store was unreachable or failed temporarily; it may have executed the operation."""


class StorageDenied(Exception):
    """The store refuses this process's credential."""


class ObjectMissing(Exception):
    """There is no such object."""


class ConditionFailed(Exception):
    """An object is there that the request required not to be."""


#: A JSON object of a response, such as the description of a stored object.
Resource = Mapping[str, Any]


class StorageApi:
    """The calls; each raises `StorageUnavailable` or `StorageDenied`, and `ObjectMissing` where there is no object."""

    def __init__(self, bucket: str, *, connections: int, credential: StorageCredential | None = None) -> None:
        self._credential = credential or find_credential()
        self._pool = pool(
            self._credential.endpoint,
            connections=connections,
            authorities=os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where(),
            timeout=Timeout(connect=TIMEOUT_SECONDS, read=TIMEOUT_SECONDS),
        )
        self._bucket = bucket

    def insert(self, name: str, data: bytes, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """Creates an object; the store verifies its checksum. Raises `ConditionFailed` if the name exists."""
        described = {"name": name, "contentType": content_type, "metadata": metadata, "crc32c": checksum(data)}
        body = _RelatedParts(json.dumps(described).encode(), data, content_type)
        path = f"/upload/storage/v1/b/{_quoted(self._bucket)}/o"
        query = {"uploadType": "multipart", "ifGenerationMatch": "0"}
        self._request("POST", path, query, body, content_type=body.content_type)

    def media(self, name: str) -> bytes:
        """Returns the bytes of an object. Raises `StorageUnavailable` if they are not what its checksum says."""
        data, headers = self._request("GET", f"/download{_object(self._bucket, name)}", {"alt": "media"})
        sums = dict(part.strip().partition("=")[::2] for part in headers.get("x-goog-hash", "").split(","))
        if sums.get("crc32c", "") not in ("", checksum(data)):
            raise StorageUnavailable(f"{name} arrived damaged.")
        return data

    def resource(self, name: str, *, bucket: str | None = None) -> Resource | None:
        """Returns the description of an object, of another bucket if one is named; None if it does not exist."""
        try:
            return self._json("GET", _object(bucket or self._bucket, name), {})
        except ObjectMissing:
            return None

    def resources(self, query: Mapping[str, str], *, limit: int) -> list[Resource]:
        """Returns descriptions in the order of their names, at most `limit`; `query` chooses which, and the fields."""
        found: list[Resource] = []
        page: dict[str, str] = {}
        path = f"/storage/v1/b/{_quoted(self._bucket)}/o"
        while True:
            listed = self._json("GET", path, {**query, **page, "maxResults": str(limit - len(found))})
            found += listed.get("items", [])
            page = {"pageToken": listed.get("nextPageToken", "")}
            if len(found) >= limit or not page["pageToken"]:
                return found[:limit]

    def rewrite(self, source: Resource, name: str, description: Mapping[str, Any]) -> Resource:
        """Copies an object as it was described into this bucket; returns the description of the copy.

        `description` replaces that of the source. Raises `ConditionFailed` if the name exists.
        """
        path = f"{_object(source['bucket'], source['name'])}/rewriteTo{_path(self._bucket, name)}"
        query = {"ifGenerationMatch": "0", "sourceGeneration": str(source["generation"])}
        body = json.dumps(description).encode()
        while True:
            answer = self._json("POST", path, query, body)
            if "rewriteToken" not in answer:
                return _described(answer.get("resource"))
            query["rewriteToken"] = answer["rewriteToken"]

    def delete(self, name: str) -> None:
        """Deletes an object."""
        self._request("DELETE", _object(self._bucket, name), {})

    def close(self) -> None:
        """Closes all connections."""
        self._pool.clear()

    def _json(self, method: str, path: str, query: Mapping[str, str], body: bytes | None = None) -> Resource:
        data, _ = self._request(method, path, {**query, "prettyPrint": "false"}, body)
        try:
            return _described(json.loads(data))
        except ValueError as error:
            raise StorageUnavailable("The store sent a response that is not JSON.") from error

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: "bytes | _RelatedParts | None" = None,
        *,
        content_type: str = "application/json",
    ) -> tuple[bytes, Mapping[str, str]]:
        """Sends a request, once more with a new credential if that was refused; returns the body and headers."""
        url = f"{self._credential.endpoint}{path}?{urlencode(query)}"
        sent = {} if body is None else {"Content-Type": content_type, "Content-Length": str(len(body))}
        try:
            status, data, headers = self._send(method, url, sent, body)
            if status == 401 and self._credential.renew():
                status, data, headers = self._send(method, url, sent, body)
        except CredentialUnavailable as error:
            raise StorageUnavailable("The credential for the store could not be fetched.") from error
        except CredentialInvalid as error:
            raise StorageDenied("This service's credential is not valid any more.") from error
        except (HTTPError, OSError) as error:
            raise StorageUnavailable(f"The store failed: {type(error).__name__}.") from error
        _raise_for(status)
        return data, headers

    def _send(
        self, method: str, url: str, sent: Mapping[str, str], body: "bytes | _RelatedParts | None"
    ) -> tuple[int, bytes, Mapping[str, str]]:
        headers = {"User-Agent": "calotype", **sent, **self._credential.headers(method, url)}
        response = self._pool.urlopen(method, url, body=body, headers=headers, redirect=False)
        return response.status, response.data, response.headers


class _RelatedParts:
    """A body of `multipart/related`: a description, then the bytes of the object, which are not copied."""

    def __init__(self, description: bytes, data: bytes, content_type: str) -> None:
        boundary = uuid4().hex
        self.content_type = f"multipart/related; boundary={boundary}"
        described = b"--%b\r\nContent-Type: application/json\r\n\r\n%b\r\n" % (boundary.encode(), description)
        begin = f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode()
        self._parts = (described + begin, data, f"\r\n--{boundary}--\r\n".encode())

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))


def checksum(data: bytes) -> str:
    """Returns the CRC32C checksum in base64, as the store writes it."""
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def _described(read: Any) -> Resource:
    if not isinstance(read, dict):
        raise StorageUnavailable("The store sent a response of another form.")
    return read


def _raise_for(status: int) -> None:
    if 200 <= status < 300:
        return
    if status in (401, 403):
        raise StorageDenied("The store refuses this service's credential.")
    if status == 404:
        raise ObjectMissing("There is no such object.")
    if status == 412:
        raise ConditionFailed("The condition of the request is not met.")
    raise StorageUnavailable(f"The store failed: status {status}.")


def _object(bucket: str, name: str) -> str:
    return f"/storage/v1{_path(bucket, name)}"


def _path(bucket: str, name: str) -> str:
    return f"/b/{_quoted(bucket)}/o/{_quoted(name)}"


def _quoted(name: str) -> str:
    return quote(name, safe="~")
