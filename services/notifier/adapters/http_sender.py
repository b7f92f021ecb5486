"""Posts events to receivers over HTTP: one bounded attempt, without redirects and without reuse of connections."""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import httpcore

from common.ids import prefixed
from common.network.guarded_connect import AddressPolicy
from common.network.resolver import Resolve, resolve
from common.telemetry import registry
from common.tracing import Attributes, fail, set_attributes, span
from services.notifier.adapters import forward_proxy, receiver_url
from services.notifier.adapters.connections import Connections, trusted_certificates
from services.notifier.adapters.delivery_request import DeliveryRequest, Signing
from services.notifier.adapters.failures import CAUSED_BY_OTHERS, AttemptFailed, failure_of, timed_out
from services.notifier.adapters.responses import Received, outcome
from services.notifier.adapters.watched_connection import Progress
from services.notifier.domain.attempts import AttemptError, AttemptOutcome
from services.notifier.domain.endpoints import Secret, SignatureScheme

#: Seconds of an attempt: resolution, connection, TLS, request, headers and body together.
DEADLINE_SECONDS = 20.0


class HttpSender:
    """Posts signed events to receivers, directly or through a forward proxy."""

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        proxy_url: str | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        resolver: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """`clock` returns Unix time in seconds; `backend` opens the connections, to addresses that were checked.

        Raises `ValueError` for an invalid URL of the proxy.
        """
        self._policy = policy
        self._deadline = deadline_seconds
        self._clock = clock
        self._connections = Connections(
            policy=policy,
            proxy=forward_proxy.read(proxy_url) if proxy_url else None,
            resolver=resolver,
            tls=tls or trusted_certificates(),
            backend=backend,
        )

    async def send(
        self,
        url: str,
        *,
        delivery_id: UUID,
        event_type: str,
        body: bytes,
        secrets: Sequence[Secret],
        scheme: SignatureScheme,
        traceparent: str | None,
    ) -> AttemptOutcome:
        """Makes one attempt, signed with each of the secrets; raises nothing for what a receiver does."""
        signing = Signing(keys=[secret.key for secret in secrets], scheme=scheme, timestamp=int(self._clock()))
        webhook_id = prefixed("msg", delivery_id)
        attributes: Attributes = {
            registry.HTTP_METHOD: "POST",
            registry.WEBHOOK_ID: webhook_id,
            registry.WEBHOOK_EVENT: event_type,
        }
        with span(registry.HTTP_CLIENT, attributes, parent=traceparent):
            ended = await self._post(url, webhook_id, body, signing)
            set_attributes({registry.HTTP_STATUS: ended.status})
            if ended.error is not None:
                fail(str(ended.status) if ended.error is AttemptError.STATUS else ended.error)
        return ended

    async def _post(self, url: str, webhook_id: str, body: bytes, signing: Signing) -> AttemptOutcome:
        began = time.monotonic()
        received, progress = Received(), Progress(step=AttemptError.DNS, uses_tls=False)
        try:
            read = receiver_url.read(url, self._policy)
            # The host alone: path and query of a receiver's URL may hold a secret.
            set_attributes(
                {registry.URL_SCHEME: read.scheme, registry.SERVER_ADDRESS: read.host, registry.SERVER_PORT: read.port}
            )
            progress = self._connections.progress(read)
            request = DeliveryRequest(url=read, webhook_id=webhook_id, body=body, signing=signing)
            failure = await self._attempt(request, received, progress)
        except AttemptFailed as error:
            failure = error
        return outcome(
            received,
            failure,
            duration_ms=int((time.monotonic() - began) * 1000),
            is_private=self._connections.is_private(progress),
            is_proxied=self._connections.is_proxied and not progress.uses_tls,
        )

    async def _attempt(self, request: DeliveryRequest, received: Received, progress: Progress) -> AttemptFailed | None:
        """Returns why no whole response arrived; None if one did."""
        try:
            async with asyncio.timeout(self._deadline):
                await self._exchange(request, received, progress)
        except TimeoutError:
            return timed_out(progress.step)
        except httpcore.ProxyError as error:
            return forward_proxy.refusal(error)
        except CAUSED_BY_OTHERS as error:
            return failure_of(error, progress.step)
        return None

    async def _exchange(self, request: DeliveryRequest, received: Received, progress: Progress) -> None:
        async with (
            self._connections.pool(progress) as pool,
            pool.stream(
                "POST",
                request.target(is_proxied=self._connections.is_proxied),
                headers=request.headers(),
                content=request.body,
                # Only so that several addresses of a host share the time.
                extensions={"timeout": {"connect": self._deadline}},
            ) as response,
        ):
            progress.step = AttemptError.TIMEOUT_BODY
            await received.read(response, progress)
