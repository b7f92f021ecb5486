"""Who asks: the single place where the tenant of a request comes from."""

import ipaddress
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import Scope

from gateway.auth import client_tokens
from gateway.auth.client_tokens import Grant
from gateway.auth.free_use import FreeUse
from gateway.auth.keyring import Keyring, Principal
from gateway.problems.problem import Problem, malformed
from gateway.schemas.client_tokens import TokenAction

TOKEN_PARAMETER = "access_token"  # noqa: S105 - the name of a parameter
#: Headers by which a proxy, a load balancer or a tunnel speaks for somebody who is not on this machine; families of
#: them by how their names begin. Not all proxies send one (nginx sends none unless it is told to), so their absence
#: proves nothing, and what may cost money does not depend on it.
_OF_PROXIES = frozenset({
    "cdn-loop", "client-ip", "fastly-client-ip", "forwarded", "proxy-client-ip", "true-client-ip", "via",
    "wl-proxy-client-ip", "x-client-ip", "x-cluster-client-ip", "x-proxyuser-ip", "x-real-ip",
})  # fmt: skip
_OF_PROXIES_BEGIN = (
    "cf-", "cloudfront-", "fly-", "ngrok-", "tailscale-", "x-amzn-", "x-appengine-", "x-azure-", "x-envoy-",
    "x-forwarded", "x-original-",
)  # fmt: skip
_SCOPE = "calotype.caller"
EMBEDDED = Principal(tenant="default")
_BEARER = "Send Authorization: Bearer KEY."
_HELP = (
    f"{_BEARER} For a stack of `calotype up`, `calotype keys show` prints it, to be copied: export CALOTYPE_API_KEY=..."
)


class Authenticator:
    """Names the caller of a request: by a key or a client token, else as `default` while that is allowed.

    Without `free_use` it is not: everybody needs a key. With it (as in `calotype up`, on a loopback listener),
    somebody on this machine needs none while every provider is free. `keyring` is None where there is no keys file.
    """

    def __init__(
        self,
        keyring: Keyring | None,
        *,
        free_use: FreeUse | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keyring = keyring
        self._free_use = free_use
        self._clock = clock

    @property
    def keyring(self) -> Keyring | None:
        """The keys that are in use."""
        return self._keyring

    def use(self, keyring: Keyring) -> None:
        """Know these keys from now on, and no others."""
        self._keyring = keyring

    async def principal(self, request: Request, *, token_in_address: bool = False) -> Principal:
        """Who asks; `token_in_address` where a browser cannot set headers.

        Raises `Problem` UNAUTHENTICATED; SERVICE_UNAVAILABLE while it is not known whether a key is needed.
        """
        found = await self._named(request, token_in_address=token_in_address)
        # Noted before it is refused: the page that holds an expired token should be able to read why.
        request.scope[_SCOPE] = found
        if found.grant is not None and self.seconds_left(found) <= 0:
            raise _refusal("The client token has expired; ask your backend for another.")
        return found

    def seconds_left(self, principal: Principal) -> float:
        """How long the caller may go on: none once its key is gone or needed, else until its token expires."""
        if principal.key_sha256 is None and not (self._free_use is not None and self._free_use.is_free):
            return 0.0
        if self._keyring is not None and not self._keyring.vouches(principal):
            return 0.0
        return math.inf if principal.grant is None else (principal.grant.expires_at - self._clock()).total_seconds()

    def allowed_origin(self, origin: str) -> str | None:
        """What is told to a page of that origin before anybody knows which tenant it asks for."""
        return None if self._keyring is None else self._keyring.allowed_origin(origin)

    def client_token(
        self, principal: Principal, job_id: str, actions: Iterable[TokenAction], seconds: int
    ) -> tuple[str, Grant]:
        """A token for a job of the caller's tenant, and what it grants. Raises `Problem` PERMISSION_DENIED."""
        signing_key = self._signing_key(principal)
        expires_at = self._clock().replace(microsecond=0) + timedelta(seconds=seconds)
        grant = Grant(job_id=job_id, actions=frozenset(actions), expires_at=expires_at)
        return client_tokens.mint(grant, signing_key), grant

    def _signing_key(self, principal: Principal) -> str:
        """Digest of the key that the caller came with; of the first key of its tenant, if it came without."""
        owner = principal
        if principal.key_sha256 is None and self._keyring is not None:
            owner = self._keyring.of_tenant(principal.tenant) or principal
        if owner.key_sha256 is None:
            words = f"tenant {principal.tenant} has none; give it one in CALOTYPE_API_KEYS_FILE."
            raise Problem(
                reason="PERMISSION_DENIED", detail=f"A client token is signed with a key of its tenant, but {words}"
            )
        return owner.key_sha256

    async def _named(self, request: Request, *, token_in_address: bool) -> Principal:
        header = request.headers.get("authorization")
        tokens = request.query_params.getlist(TOKEN_PARAMETER) if token_in_address else []
        if len(tokens) + (header is not None) > 1:
            raise malformed(f"Send one key or token: as Authorization: Bearer, or as {TOKEN_PARAMETER}.")
        if tokens:
            return self._by_token(tokens[0])
        if header is None:
            return await self._keyless(request, "A key is needed")
        # Programs that cannot go without a key send any: it is taken where none is needed.
        unknown = "The key or token is not known to this service, and one is needed"
        return self._by_header(header) or await self._keyless(request, unknown)

    def _by_header(self, header: str) -> Principal | None:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise _refusal(_BEARER)
        if self._keyring is None:
            return None
        return self._keyring.by_key(secret.strip()) or self._keyring.by_token(secret.strip())

    async def _keyless(self, request: Request, refused: str) -> Principal:
        """Whoever shows no key that is known. Raises `Problem`: what is refused, why, and what to do."""
        embedded = self._embedded()
        if self._free_use is None:
            why = "this gateway asks everybody for one"
        elif not _is_local(request):
            why = "whoever is not on this machine is asked for one"
        elif _is_of_another_site(request, embedded):
            why = "a page of another site asks, whose origin is not in the keys file"
        elif not await self._free_use.ask():
            why = "not every provider is free"
        else:
            return embedded
        raise _refusal(f"{refused}: {why}. {_HELP}")

    def _by_token(self, token: str) -> Principal:
        """A key is not taken here: addresses end up in the logs of proxies."""
        found = None if self._keyring is None else self._keyring.by_token(token)
        if found is None:
            raise _refusal(f"{TOKEN_PARAMETER} is not a client token that this service knows.")
        return found

    def _embedded(self) -> Principal:
        """Somebody on this machine, with what the keys file says of the tenant `default`, but its role and keys."""
        known = None if self._keyring is None else self._keyring.of_tenant(EMBEDDED.tenant)
        return EMBEDDED if known is None else replace(known, role="tenant", key_sha256=None)


def _is_of_another_site(request: Request, principal: Principal) -> bool:
    """Whether a page asks that may not: it could cancel jobs with a form, which needs no leave to be sent."""
    origins = request.headers.getlist("origin")
    return any(not is_loopback(_host_of(one)) and principal.allowed_origin(one) is None for one in origins)


def principal_of(scope: Scope) -> Principal | None:
    """Who asked, where that is known by now."""
    found: Principal | None = scope.get(_SCOPE)
    return found


def _refusal(detail: str) -> Problem:
    return Problem(reason="UNAUTHENTICATED", detail=detail, headers={"WWW-Authenticate": 'Bearer realm="calotype"'})


def _is_local(request: Request) -> bool:
    """Whether the caller sits on this machine and no proxy speaks for it.

    The name in Host is checked too: a page that let its own name point here must not reach the service through the
    browser of somebody on this machine.
    """
    if request.client is None or any(_is_of_a_proxy(name) for name in request.headers):
        return False
    return is_loopback(request.client.host) and is_loopback(request.url.hostname or "")


def _is_of_a_proxy(header: str) -> bool:
    return header in _OF_PROXIES or header.startswith(_OF_PROXIES_BEGIN)


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or address, is this machine as only this machine reaches it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
