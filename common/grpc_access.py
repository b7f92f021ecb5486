"""Access control of a gRPC server: the caller's identity, from a bearer token or certificate, and what it may call."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import grpc
from calotype.error_reasons import Reason

from common.config import ConfigError
from common.errors import ServiceError
from common.grpc_tls import TlsSettings, server_credentials
from common.identities import SETTING, Identities, Identity
from common.loops import run_every

#: Seconds between two checks of the identities file for changes.
REREAD_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ServerSettings(TlsSettings):
    """Settings of a process that serves gRPC."""

    #: YAML file of the callers and their roles (`common.identities`). None: `grpc_tls_ca_file` must be set, and every
    #: client with a certificate of these authorities may call every method.
    grpc_identities_file: Path | None = None


class AccessPolicy(Protocol):
    """Decides whether a caller may make a call."""

    def __call__(
        self, method: str, request: Any, *, roles: Collection[str], tenants: Collection[str] | None
    ) -> str | None:
        """Returns why the caller may not make this call, as text for a person; None when it may.

        `method` is `/package.Service/Method`. `request` None: the message is not received yet. `tenants` None: the
        caller may act for every tenant.
        """


class Authorizer:
    """Identifies the caller of each call and applies the access policy."""

    def __init__(self, identities: Identities, policy: AccessPolicy) -> None:
        self.identities = identities
        self._policy = policy

    def admit(self, identity: Identity, method: str, request: Any) -> None:
        """Raises `ServiceError` PERMISSION_DENIED unless the identity may make this call.

        With `request` None, which is not received yet: unless it may call the method at all.
        """
        refusal = self._policy(method, request, roles=identity.roles, tenants=identity.tenants)
        if refusal is not None:
            raise ServiceError(
                status=grpc.StatusCode.PERMISSION_DENIED,
                reason=Reason.PERMISSION_DENIED,
                message=f"{identity.name} may not do this: {refusal}",
            )

    def identify(self, context: "grpc.aio.ServicerContext[Any, Any]") -> Identity:
        """Returns the caller's identity. Raises `ServiceError` UNAUTHENTICATED.

        A token wins over a certificate: the token belongs to the call, the certificate to the whole connection.
        """
        headers = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if headers:
            return self._of_header(headers)
        names = _certificate_names(context.auth_context())
        if names:
            return _require_identity(
                self.identities.of_certificate(names), "The certificate is not known to this service."
            )
        raise _unauthenticated("A token or a client certificate is required: send authorization: Bearer TOKEN.")

    def _of_header(self, headers: list[str | bytes]) -> Identity:
        scheme, _, token = str(headers[0]).partition(" ")
        if len(headers) > 1 or scheme.lower() != "bearer":
            raise _unauthenticated("Send exactly one token as authorization: Bearer TOKEN.")
        return _require_identity(self.identities.of_token(token.strip()), "The token is not known to this service.")


@dataclass(frozen=True, kw_only=True)
class ServerSecurity:
    """Access control, audit and TLS of a gRPC server."""

    #: None: every caller that can connect may call every method.
    authorizer: Authorizer | None = None
    #: Whether a method, `/package.Service/Method`, changes something, so that the audit log gets each of its calls.
    changes: Callable[[str], bool] = lambda method: True
    #: Makes the credentials of one port, as each notices renewed files for itself; None without TLS.
    #: Raises `ConfigError`.
    credentials: Callable[[], grpc.ServerCredentials | None] = lambda: None

    async def run(self, stop: asyncio.Event) -> None:
        """Reloads the identities file when it changes, until `stop` is set."""
        if self.authorizer is not None:
            await run_every("identities", self.authorizer.identities.run_once, interval=REREAD_SECONDS, stop=stop)


#: No access control and no TLS.
OPEN = ServerSecurity()


def server_security(
    settings: ServerSettings,
    *,
    roles: Collection[str],
    policy: AccessPolicy,
    changes: Callable[[str], bool],
) -> ServerSecurity:
    """Returns the security that the settings describe. Raises `ConfigError`, also without any access control."""
    # With authorities alone, every client with one of their certificates is trusted; the operator chose that.
    if settings.grpc_identities_file is None and settings.grpc_tls_ca_file is None:
        raise ConfigError(
            f"{SETTING} is not set: the file that lists who may call this service; see docs/operations.md."
        )
    # Files that cannot be used end the start here, before anything is connected.
    server_credentials(settings)
    return ServerSecurity(
        authorizer=_authorizer(settings, roles, policy),
        changes=changes,
        credentials=partial(server_credentials, settings),
    )


def _authorizer(settings: ServerSettings, roles: Collection[str], policy: AccessPolicy) -> Authorizer | None:
    if settings.grpc_identities_file is None:
        return None
    return Authorizer(Identities(settings.grpc_identities_file, roles=roles), policy)


def _require_identity(identity: Identity | None, message: str) -> Identity:
    if identity is None:
        raise _unauthenticated(message)
    return identity


def _unauthenticated(message: str) -> ServiceError:
    return ServiceError(status=grpc.StatusCode.UNAUTHENTICATED, reason=Reason.UNAUTHENTICATED, message=message)


def _certificate_names(auth_context: Any) -> list[str]:
    """Returns the URI and DNS names of the client's verified certificate; without any, its common name."""
    names = [*auth_context.get("peer_uri", ()), *auth_context.get("peer_dns", ())]
    names = names or auth_context.get("x509_common_name", ())
    return [name.decode("utf-8", "replace") for name in names]
