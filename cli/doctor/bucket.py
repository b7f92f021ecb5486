"""Examines the public bucket as somebody without a credential: whoever may list it sees every tenant's pictures."""

import os
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

import httpx

from cli.doctor.findings import Finding, fail, ok, warn
from cli.environment import read

GOOGLE = "https://storage.googleapis.com"
SECONDS = 5.0
_CLOSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@dataclass(frozen=True, kw_only=True)
class _Settings:
    bucket: str = ""


def from_environment() -> tuple[str, str]:
    """The store's address and the bucket that CALOTYPE_BUCKET names, or "". Raises `CommandFailed`."""
    host = os.environ.get("STORAGE_EMULATOR_HOST", GOOGLE)
    return host if "://" in host else f"http://{host}", read(_Settings).bucket


def examine(storage_url: str, bucket: str) -> Finding:
    """Whether the bucket lists nothing to anybody."""
    return judged(bucket, _status_of_listing(storage_url, bucket))


def judged(bucket: str, status: int | None) -> Finding:
    """What the answer to an anonymous listing means; None is no answer."""
    if status in _CLOSED:
        return ok(f"bucket {bucket} lists nothing to anybody without a credential")
    if status == HTTPStatus.OK:
        advice = "give allUsers the role storage.legacyObjectReader in place of storage.objectViewer"
        return fail(f"anybody may list bucket {bucket}, and so see the pictures of every tenant", advice)
    said = "does not answer" if status is None else f"answers with status {status}"
    return warn(f"bucket {bucket} {said}; whether anybody may list it is not known", "look again where it is reached")


def _status_of_listing(storage_url: str, bucket: str) -> int | None:
    url = f"{storage_url}/storage/v1/b/{quote(bucket, safe='')}/o"
    try:
        return httpx.get(url, params={"maxResults": "1", "fields": "kind"}, timeout=SECONDS).status_code
    except httpx.HTTPError:
        return None
