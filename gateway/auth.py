"""Who asks: the single place where the tenant of a request comes from."""

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fastapi import Request

from gateway.problems import Problem

Role = Literal["tenant", "operator"]
#: Headers by which a proxy speaks for somebody who is not on this machine.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and as what."""

    tenant: str
    role: Role = "tenant"


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key that callers may use; only its digest is known."""

    sha256: str
    caller: Caller


EMBEDDED = Caller(tenant="default")


class Authenticator:
    """Names the caller of a request.

    Without a key: `default` for somebody on this machine, unless every caller must have one.
    """

    def __init__(self, keys: Sequence[Key] | None, *, required: bool) -> None:
        self._keys = keys
        self._required = required

    def caller(self, request: Request) -> Caller:
        """Who asks. Raises `Problem` UNAUTHENTICATED."""
        header = request.headers.get("authorization")
        if header is not None and self._keys is not None:
            return self._known(header)
        if self._required or not _is_local(request):
            raise _refusal("A key is needed: send Authorization: Bearer KEY.")
        return EMBEDDED

    def _known(self, header: str) -> Caller:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise _refusal("Send the key as Authorization: Bearer KEY.")
        digest = hashlib.sha256(secret.strip().encode("utf-8")).hexdigest()
        # Every key is compared, so that the time tells nothing about which one was near.
        matches = [key.caller for key in self._keys or () if hmac.compare_digest(key.sha256, digest)]
        if not matches:
            raise _refusal("The key is not known to this service.")
        return matches[0]


def _refusal(detail: str) -> Problem:
    return Problem(reason="UNAUTHENTICATED", detail=detail, headers={"WWW-Authenticate": 'Bearer realm="calotype"'})


def _is_local(request: Request) -> bool:
    """Whether the caller sits on this machine and no proxy speaks for it.

    The name in Host is checked too: a page that let its own name point here must not reach the service through the
    browser of somebody on this machine.
    """
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    return _is_loopback(request.client.host) and _is_loopback(request.url.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
