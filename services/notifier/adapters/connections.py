"""How receivers are reached: directly, at checked addresses alone, or through a forward proxy."""

import ssl
from collections.abc import Sequence
from pathlib import Path

import httpcore
import httpx

from common.network.addresses import is_public
from common.network.guarded_connect import AddressPolicy, GuardedBackend
from common.network.resolver import Resolve
from services.notifier.adapters.forward_proxy import ForwardProxy
from services.notifier.adapters.watched_connection import Progress, WatchedBackend
from services.notifier.domain.attempts import AttemptError


class _AnyHost:
    """Allows every address: the proxy is the operator's choice."""

    def may_reach(self, host: str, port: int, addresses: Sequence[str]) -> bool:
        return bool(addresses)


class Connections:
    """Makes the connections of attempts; none is used twice."""

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        proxy: ForwardProxy | None,
        resolver: Resolve,
        tls: ssl.SSLContext,
        backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._policy = policy
        self._proxy = proxy
        self._resolve = resolver
        self._tls = tls
        self._backend = backend

    @property
    def is_proxied(self) -> bool:
        """Whether there is a forward proxy."""
        return self._proxy is not None

    def progress(self, url: httpx.URL) -> Progress:
        """Returns the progress of an attempt that begins."""
        return Progress(
            step=AttemptError.PROXY if self._proxy else AttemptError.DNS,
            uses_tls=url.scheme == "https",
            proxy_handshake_due=self._proxy is not None and self._proxy.uses_tls,
        )

    def pool(self, progress: Progress) -> httpcore.AsyncConnectionPool:
        """Returns a pool for the one connection of an attempt."""

        async def resolve(host: str, port: int) -> Sequence[str]:
            addresses = await self._resolve(host, port)
            progress.step = AttemptError.CONNECT
            return addresses

        if self._proxy is not None:
            to_proxy = GuardedBackend(_AnyHost(), resolver=self._resolve, backend=self._backend)
            return self._proxy.pool(WatchedBackend(to_proxy, progress), self._tls)
        to_receiver = GuardedBackend(self._policy, resolver=resolve, backend=self._backend)
        return httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=WatchedBackend(to_receiver, progress),
        )

    def is_private(self, progress: Progress) -> bool:
        """Returns whether the receiver is private. Behind a proxy that is unknown, and possible if allowed at all."""
        if self._proxy is not None:
            return self._policy.allow_private
        return progress.peer is not None and not is_public(progress.peer)


def trusted_certificates(authorities: Path | None = None) -> ssl.SSLContext:
    """Returns the settings of TLS for receivers: the certificate authorities of certifi, at least TLS 1.2.

    `authorities`: a PEM file of further ones. Raises `OSError` if it holds no certificate.
    """
    context = httpx.create_ssl_context(trust_env=False)
    if authorities is not None:
        context.load_verify_locations(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
