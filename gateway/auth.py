"""Who asks: the single place where the tenant of a request comes from."""

import ipaddress
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import Scope

from gateway import client_tokens
from gateway.client_tokens import Grant, TokenAction
from gateway.keyring import Caller, Keyring
from gateway.problems import Problem, malformed

TOKEN_PARAMETER = "access_token"  # noqa: S105 - the name of a parameter
#: Headers by which a proxy speaks for somebody who is not on this machine.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_SCOPE = "calotype.caller"
EMBEDDED = Caller(tenant="default")


class Authenticator:
    """Names the caller of a request.

    Without a key: `default` for somebody on this machine, unless every caller must have one. `keyring` is None where
    there is no keys file.
    """

    def __init__(
        self, keyring: Keyring | None, *, required: bool, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._keyring = keyring
        self._required = required
        self._clock = clock

    def use(self, keyring: Keyring) -> None:
        """Know these keys from now on, and no others."""
        self._keyring = keyring

    def caller(self, request: Request, *, token_in_address: bool = False) -> Caller:
        """Who asks; `token_in_address` where a browser cannot set headers. Raises `Problem` UNAUTHENTICATED."""
        found = self._named(request, token_in_address=token_in_address)
        # Noted before it is refused: the page that holds an expired token should be able to read why.
        request.scope[_SCOPE] = found
        if found.grant is not None and self.seconds_left(found) <= 0:
            raise _refusal("The client token has expired; ask your backend for another.")
        return found

    def seconds_left(self, caller: Caller) -> float:
        """How long the caller may go on: none once its key is gone, else until its token expires."""
        if self._keyring is not None and not self._keyring.vouches(caller):
            return 0.0
        return math.inf if caller.grant is None else (caller.grant.expires_at - self._clock()).total_seconds()

    def allowed_origin(self, origin: str) -> str | None:
        """What is told to a page of that origin before anybody knows which tenant it asks for."""
        return None if self._keyring is None else self._keyring.allowed_origin(origin)

    def client_token(
        self, caller: Caller, job_id: str, actions: Iterable[TokenAction], seconds: int
    ) -> tuple[str, Grant]:
        """A token for a job of the caller's tenant, and what it grants. Raises `Problem` PERMISSION_DENIED."""
        signing_key = self._signing_key(caller)
        expires_at = self._clock().replace(microsecond=0) + timedelta(seconds=seconds)
        grant = Grant(job_id=job_id, actions=frozenset(actions), expires_at=expires_at)
        return client_tokens.mint(grant, signing_key), grant

    def _signing_key(self, caller: Caller) -> str:
        """Digest of the key that the caller came with; of the first key of its tenant, if it came without."""
        owner = caller
        if caller.key_sha256 is None and self._keyring is not None:
            owner = self._keyring.of_tenant(caller.tenant) or caller
        if owner.key_sha256 is None:
            words = f"tenant {caller.tenant} has none; give it one in CALOTYPE_API_KEYS_FILE."
            raise Problem(
                reason="PERMISSION_DENIED", detail=f"A client token is signed with a key of its tenant, but {words}"
            )
        return owner.key_sha256

    def _named(self, request: Request, *, token_in_address: bool) -> Caller:
        header = request.headers.get("authorization")
        tokens = request.query_params.getlist(TOKEN_PARAMETER) if token_in_address else []
        if len(tokens) + (header is not None) > 1:
            raise malformed(f"Send one key or token: as Authorization: Bearer, or as {TOKEN_PARAMETER}.")
        if tokens:
            return self._by_token(tokens[0])
        if header is not None and self._keyring is not None:
            return self._by_header(header, self._keyring)
        if self._required or not _is_local(request):
            raise _refusal("A key is needed: send Authorization: Bearer KEY.")
        embedded = self._embedded()
        if _is_of_another_site(request, embedded):
            raise _refusal("A page of another site needs a key, or its origin in the keys file.")
        return embedded

    def _by_header(self, header: str, keyring: Keyring) -> Caller:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise _refusal("Send the key as Authorization: Bearer KEY.")
        found = keyring.by_key(secret.strip()) or keyring.by_token(secret.strip())
        if found is None:
            raise _refusal("The key or token is not known to this service.")
        return found

    def _by_token(self, token: str) -> Caller:
        """A key is not taken here: addresses end up in the logs of proxies."""
        found = None if self._keyring is None else self._keyring.by_token(token)
        if found is None:
            raise _refusal(f"{TOKEN_PARAMETER} is not a client token that this service knows.")
        return found

    def _embedded(self) -> Caller:
        """Somebody on this machine, with what the keys file says of the tenant `default`, but its role and keys."""
        known = None if self._keyring is None else self._keyring.of_tenant(EMBEDDED.tenant)
        return EMBEDDED if known is None else replace(known, role="tenant", key_sha256=None)


def _is_of_another_site(request: Request, caller: Caller) -> bool:
    """Whether a page asks that may not: it could cancel jobs with a form, which needs no leave to be sent."""
    origin = request.headers.get("origin")
    return origin is not None and not _is_loopback(_host_of(origin)) and caller.allowed_origin(origin) is None


def caller_of(scope: Scope) -> Caller | None:
    """Who asked, where that is known by now."""
    found: Caller | None = scope.get(_SCOPE)
    return found


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


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
