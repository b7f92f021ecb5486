"""The request that carries an event to a receiver."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import calotype
import httpcore
import httpx

from common.tracing import traceparent
from services.notifier.adapters.signatures import signature_header
from services.notifier.domain.endpoints import SignatureScheme

USER_AGENT = f"Calotype-Webhooks/{calotype.__version__}"


@dataclass(frozen=True, kw_only=True)
class Signing:
    """What signs a delivery."""

    #: A signature is made with each.
    keys: Sequence[bytes] = field(repr=False)
    #: How.
    scheme: SignatureScheme
    #: Time of the attempt, in seconds since 1970.
    timestamp: int


@dataclass(frozen=True, kw_only=True)
class DeliveryRequest:
    """A signed event for a receiver."""

    #: The receiver's URL.
    url: httpx.URL
    #: Same for every attempt of a delivery; `msg_` and 32 hexadecimal digits.
    webhook_id: str
    #: Event as JSON.
    body: bytes = field(repr=False)
    #: What signs it.
    signing: Signing

    def target(self, *, is_proxied: bool) -> httpcore.URL:
        """Returns the URL as httpcore takes it."""
        host = self.url.raw_host
        if is_proxied and b":" in host:
            # A proxy gets an IPv6 address as text, to which httpcore adds no brackets.
            host = b"[" + host + b"]"
        return httpcore.URL(scheme=self.url.raw_scheme, host=host, port=self.url.port, target=self.url.raw_path)

    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Returns all headers but the length of the body; `traceparent` is the current span's."""
        signing = self.signing
        signatures = signature_header(
            self.webhook_id, signing.timestamp, self.body, keys=signing.keys, scheme=signing.scheme
        )
        values = {
            "host": self.url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": self.webhook_id,
            "webhook-timestamp": str(signing.timestamp),
            "webhook-signature": signatures,
            "traceparent": traceparent() or "",
            "connection": "close",
        }
        return [(name.encode(), value.encode()) for name, value in values.items() if value]
