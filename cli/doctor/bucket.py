"""Checks that the public bucket cannot be listed without a credential: a list shows the images of every tenant."""

import os
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

import httpx

from cli.doctor.findings import Finding, fail, ok, warn
from cli.environment import read

#: The store that is used where `STORAGE_EMULATOR_HOST` names none.
GOOGLE = "https://storage.googleapis.com"
SECONDS = 5.0
_CLOSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@dataclass(frozen=True, kw_only=True)
class _Settings:
    #: The public bucket; empty where none is named.
    bucket: str = ""


def from_environment() -> tuple[str, str]:
    """The store's URL, and the bucket that `CALOTYPE_BUCKET` names or "". Raises `CommandFailed`."""
    host = os.environ.get("STORAGE_EMULATOR_HOST", GOOGLE)
    return host if "://" in host else f"http://{host}", read(_Settings).bucket


def examine(storage_url: str, bucket: str) -> Finding:
    """Whether the bucket can be listed without a credential."""
    return judged(bucket, _status_of_listing(storage_url, bucket))


def judged(bucket: str, status: int | None) -> Finding:
    """The finding for the HTTP status of an anonymous listing; None is no response."""
    if status in _CLOSED:
        return ok(f"bucket {bucket} cannot be listed without a credential")
    if status == HTTPStatus.OK:
        advice = "give allUsers the role storage.legacyObjectReader in place of storage.objectViewer"
        return fail(f"anyone can list bucket {bucket}, and so see the images of every tenant", advice)
    response = "does not answer" if status is None else f"answers with status {status}"
    return warn(
        f"bucket {bucket} {response}; whether anyone can list it is not known",
        "run this again from where the bucket can be reached",
    )


def _status_of_listing(storage_url: str, bucket: str) -> int | None:
    url = f"{storage_url}/storage/v1/b/{quote(bucket, safe='')}/o"
    try:
        return httpx.get(url, params={"maxResults": "1", "fields": "kind"}, timeout=SECONDS).status_code
    except httpx.HTTPError:
        return None
