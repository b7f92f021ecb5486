"""Who may call a gRPC server: an identity from a bearer token or a client's certificate, and what it may do."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc

from common.config import ConfigError
from common.errors import ServiceError
from common.grpc_tls import TlsSettings, server_credentials
from common.identities import WHERE, Identities, Identity
from common.loops import run_every

#: Seconds after which a change of the identities file is seen.
REREAD_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ServerSettings(TlsSettings):
    """Settings of a process that serves gRPC."""

    #: YAML file with the identities that may call this server. Without it, every client certificate that
    #: CALOTYPE_GRPC_TLS_CA_FILE signed may call every method; with neither, the service does not start.
    grpc_identities_file: Path | None = None


class AccessPolicy(Protocol):
    """Says in words why a caller may not do this; None when it may."""

    def __call__(
        self, method: str, request: Any, *, roles: Collection[str], tenants: Collection[str] | None
    ) -> str | None:
        """`method` is `/package.Service/Method`; `request` None is not received yet; `tenants` None is every tenant."""


class Authorizer:
    """Decides about each call by who makes it."""

    def __init__(self, identities: Identities, policy: AccessPolicy) -> None:
        self.identities = identities
        self._policy = policy

    def admit(self, identity: Identity, method: str, request: Any) -> None:
        """Raises `ServiceError` PERMISSION_DENIED unless the identity may ask just this.

        Without a request, which is not received yet: unless it may call the method at all.
        """
        why_not = self._policy(method, request, roles=identity.roles, tenants=identity.tenants)
        if why_not is not None:
            raise ServiceError(
                status=grpc.StatusCode.PERMISSION_DENIED,
                reason="PERMISSION_DENIED",
                message=f"{identity.name} may not do this: {why_not}",
            )

    def identify(self, context: "grpc.aio.ServicerContext[Any, Any]") -> Identity:
        """Who calls. Raises `ServiceError` UNAUTHENTICATED.

        A token before a certificate: what is shown with the call says more than what the connection has.
        """
        shown = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if shown:
            return self._of_header(shown)
        names = _certificate_names(context.auth_context())
        if names:
            return _known(self.identities.of_certificate(names), "The certificate is not known to this service.")
        raise _unauthenticated("A token or a client certificate is needed: send authorization: Bearer TOKEN.")

    def _of_header(self, shown: list[str | bytes]) -> Identity:
        scheme, _, token = str(shown[0]).partition(" ")
        if len(shown) > 1 or scheme.lower() != "bearer":
            raise _unauthenticated("Send one token as authorization: Bearer TOKEN.")
        return _known(self.identities.of_token(token.strip()), "The token is not known to this service.")


@dataclass(frozen=True, kw_only=True)
class ServerSecurity:
    """How a process serves gRPC: who may call it (without a guard: everybody), and its TLS (without: in the clear).

    `changes` says of a method whether the audit is told of its calls.
    """

    authorizer: Authorizer | None = None
    changes: Callable[[str], bool] = lambda method: True
    credentials: grpc.ServerCredentials | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Follow changes of the identities file until `stop` is set."""
        if self.authorizer is not None:
            await run_every("identities", self.authorizer.identities.run_once, interval=REREAD_SECONDS, stop=stop)


OPEN = ServerSecurity()


def server_security(
    settings: ServerSettings,
    *,
    roles: Collection[str],
    policy: AccessPolicy,
    changes: Callable[[str], bool],
) -> ServerSecurity:
    """The door that the settings describe. Raises `ConfigError`, also where nothing says who may come in."""
    # With authorities, whoever has a certificate of theirs is trusted with everything: somebody decided that.
    if settings.grpc_identities_file is None and settings.grpc_tls_ca_file is None:
        raise ConfigError(f"{WHERE} is not set: the file that says who may call this service; see docs/operations.md.")
    return ServerSecurity(
        authorizer=_authorizer(settings, roles, policy), changes=changes, credentials=server_credentials(settings)
    )


def _authorizer(settings: ServerSettings, roles: Collection[str], policy: AccessPolicy) -> Authorizer | None:
    if settings.grpc_identities_file is None:
        return None
    return Authorizer(Identities(settings.grpc_identities_file, roles=roles), policy)


def _known(identity: Identity | None, otherwise: str) -> Identity:
    if identity is None:
        raise _unauthenticated(otherwise)
    return identity


def _unauthenticated(message: str) -> ServiceError:
    return ServiceError(status=grpc.StatusCode.UNAUTHENTICATED, reason="UNAUTHENTICATED", message=message)


def _certificate_names(facts: Any) -> list[str]:
    """Names in the client's certificate, which the handshake has checked; its common name where it has no other."""
    names = [*facts.get("peer_uri", ()), *facts.get("peer_dns", ())] or facts.get("x509_common_name", ())
    return [name.decode("utf-8", "replace") for name in names]
