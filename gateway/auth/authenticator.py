"""Authenticates requests: the only place that decides the tenant of a request."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from calotype.error_reasons import Reason
from fastapi import Request
from starlette.types import Scope

from common.network.addresses import is_loopback
from gateway.auth import client_tokens
from gateway.auth.client_tokens import Grant
from gateway.auth.free_use import FreeUse
from gateway.auth.keyring import Keyring, Principal
from gateway.problems.problem import Problem, malformed
from gateway.schemas.client_tokens import TokenAction

TOKEN_PARAMETER = "access_token"  # noqa: S105 - the name of a parameter
#: Headers that a proxy, load balancer or tunnel adds to the requests of remote clients; families of such headers by
#: their prefix. Not all proxies add one (nginx does not by default), so their absence proves nothing, and access to
#: anything that costs money does not depend on it.
_PROXY_HEADERS = frozenset({
    "cdn-loop", "client-ip", "fastly-client-ip", "forwarded", "proxy-client-ip", "true-client-ip", "via",
    "wl-proxy-client-ip", "x-client-ip", "x-cluster-client-ip", "x-proxyuser-ip", "x-real-ip",
})  # fmt: skip
_PROXY_HEADER_PREFIXES = (
    "cf-", "cloudfront-", "fly-", "ngrok-", "tailscale-", "x-amzn-", "x-appengine-", "x-azure-", "x-envoy-",
    "x-forwarded", "x-original-",
)  # fmt: skip
_SCOPE = "calotype.principal"
EMBEDDED = Principal(tenant="default")
_SEND_KEY = "Send the header Authorization: Bearer KEY."
_HELP = (
    f"{_SEND_KEY} With `calotype up`, the command `calotype keys show` prints the key as a line to copy: "
    "export CALOTYPE_API_KEY=..."
)


class Authenticator:
    """Finds the principal of a request: by API key or client token, or `default` where no key is required.

    Without `free_use` every request needs a key. With it (as in `calotype up`, on a loopback listener), local requests
    need none while every provider is free. `keyring` is None without a keys file.
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
        """The keys in use; None without a keys file."""
        return self._keyring

    def use(self, keyring: Keyring) -> None:
        """Replaces the keys in use."""
        self._keyring = keyring

    async def principal(self, request: Request, *, token_in_address: bool = False) -> Principal:
        """Returns the principal of the request.

        `token_in_address` also accepts a client token in the query, as EventSource in browsers cannot set headers.
        Raises `Problem` UNAUTHENTICATED, or SERVICE_UNAVAILABLE while it is unknown whether a key is required.
        """
        principal = await self._find_principal(request, token_in_address=token_in_address)
        # Noted before the expiry is checked: CORS then lets the page of an expired token read the response.
        request.scope[_SCOPE] = principal
        if principal.grant is not None and self.seconds_left(principal) <= 0:
            raise _unauthenticated("The client token has expired. Request a new one from your backend.")
        return principal

    def seconds_left(self, principal: Principal) -> float:
        """Returns for how many seconds the principal keeps its access.

        0 or less once its key is removed or has expired, its token has expired, or it came without a key and one is
        required now; infinite for a key in use that has no end.
        """
        if principal.key_sha256 is None and not (self._free_use is not None and self._free_use.is_free):
            return 0.0
        if self._keyring is not None and not self._keyring.is_current(principal):
            return 0.0
        ends = [principal.key_expires_at, principal.grant.expires_at if principal.grant else None]
        return min(((end - self._clock()).total_seconds() for end in ends if end is not None), default=math.inf)

    def allowed_origin(self, origin: str) -> str | None:
        """Returns the Access-Control-Allow-Origin for a preflight, whose tenant is unknown; None: not allowed."""
        return None if self._keyring is None else self._keyring.allowed_origin(origin)

    def client_token(
        self, principal: Principal, job_id: str, actions: Iterable[TokenAction], seconds: int
    ) -> tuple[str, Grant]:
        """Returns a new token for a job of the principal's tenant, and its grant.

        Raises `Problem` PERMISSION_DENIED if the tenant has no key to sign it with.
        """
        signing_key = self._signing_key(principal)
        expires_at = self._clock().replace(microsecond=0) + timedelta(seconds=seconds)
        grant = Grant(job_id=job_id, actions=frozenset(actions), expires_at=expires_at)
        return client_tokens.mint(grant, signing_key), grant

    def _signing_key(self, principal: Principal) -> str:
        """Returns the digest of the principal's key, or of its tenant's first key if it came without one."""
        owner = principal
        if principal.key_sha256 is None and self._keyring is not None:
            owner = self._keyring.signer(principal.tenant, self._clock()) or principal
        if owner.key_sha256 is None:
            raise Problem(
                reason=Reason.PERMISSION_DENIED,
                detail=f"A client token is signed with a key of its tenant, but tenant {principal.tenant} has no valid "
                "key. Add one to the file that CALOTYPE_API_KEYS_FILE names.",
            )
        return owner.key_sha256

    async def _find_principal(self, request: Request, *, token_in_address: bool) -> Principal:
        header = request.headers.get("authorization")
        tokens = request.query_params.getlist(TOKEN_PARAMETER) if token_in_address else []
        if len(tokens) + (header is not None) > 1:
            raise malformed(
                f"Send one key or token only: in the header Authorization, or in the parameter {TOKEN_PARAMETER}."
            )
        if tokens:
            return self._by_query_token(tokens[0])
        if header is None:
            return await self._without_key(request, "A key is needed")
        # Some programs always send a key, even a dummy: an unknown key is accepted where none is required.
        unknown = "This key or token is unknown to this service, and a valid one is needed"
        return self._by_header(header) or await self._without_key(request, unknown)

    def _by_header(self, header: str) -> Principal | None:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthenticated(_SEND_KEY)
        if self._keyring is None:
            return None
        return self._in_use(self._keyring.by_key(secret.strip()) or self._keyring.by_token(secret.strip()))

    def _in_use(self, principal: Principal | None) -> Principal | None:
        """Returns the principal, or None once its key, or the key that signed its token, has expired."""
        return None if principal is None or principal.has_expired(self._clock()) else principal

    async def _without_key(self, request: Request, problem: str) -> Principal:
        """Returns the principal of a request without a known key.

        Raises `Problem` UNAUTHENTICATED whose detail is `problem`, the cause, and what to do.
        """
        embedded = self._embedded()
        if self._free_use is None:
            cause = "this gateway requires one for every request"
        elif not _is_local(request):
            cause = "the request does not come from this machine"
        elif _is_cross_site(request, embedded):
            cause = "a page of another site sent the request, and its origin is not in the keys file"
        elif not await self._free_use.check():
            cause = "at least one provider is not free"
        else:
            return embedded
        raise _unauthenticated(f"{problem}: {cause}. {_HELP}")

    def _by_query_token(self, token: str) -> Principal:
        """Accepts client tokens but no keys: URLs end up in the logs of proxies."""
        principal = None if self._keyring is None else self._in_use(self._keyring.by_token(token))
        if principal is None:
            raise _unauthenticated(f"{TOKEN_PARAMETER} is not a client token of this service.")
        return principal

    def _embedded(self) -> Principal:
        """Returns the principal of local requests: tenant `default` of the keys file, without its role and keys."""
        tenant = None if self._keyring is None else self._keyring.of_tenant(EMBEDDED.tenant)
        return EMBEDDED if tenant is None else replace(tenant, role="tenant", key_sha256=None, key_expires_at=None)


def _is_cross_site(request: Request, principal: Principal) -> bool:
    """Returns whether a page of a site that is not allowed sent the request.

    Such a page could cancel jobs with a form, which browsers send without a preflight.
    """
    origins = request.headers.getlist("origin")
    return any(not is_loopback(_host_of(origin)) and principal.allowed_origin(origin) is None for origin in origins)


def principal_of(scope: Scope) -> Principal | None:
    """Returns the principal of a request; None until it has been authenticated."""
    principal: Principal | None = scope.get(_SCOPE)
    return principal


def _unauthenticated(detail: str) -> Problem:
    return Problem(
        reason=Reason.UNAUTHENTICATED, detail=detail, headers={"WWW-Authenticate": 'Bearer realm="calotype"'}
    )


def _is_local(request: Request) -> bool:
    """Returns whether the client runs on this machine and no proxy is in between.

    The Host header is checked too, against DNS rebinding: a website whose name resolves to this machine must not reach
    the service through the browser of a local user.
    """
    if request.client is None or any(_is_proxy_header(name) for name in request.headers):
        return False
    return is_loopback(request.client.host) and is_loopback(request.url.hostname or "")


def _is_proxy_header(name: str) -> bool:
    return name in _PROXY_HEADERS or name.startswith(_PROXY_HEADER_PREFIXES)


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""
