"""Who signs what comes to a receiver, verified with public libraries."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from tests.chaos.received import Request


@dataclass(frozen=True, kw_only=True)
class Signer:
    """An endpoint or a tenant: `v1` with a shared secret, `v1a` with a public key."""

    scheme: str
    secret: str

    def has_signed(self, request: Request, *, added: str = "") -> bool:
        """Whether a signature of the request is this one's, with something added to the body."""
        return any(self._is_own(each, request, request.body + added) for each in _signatures(request.headers))

    def _is_own(self, signature: str, request: Request, body: str) -> bool:
        if self.scheme == "v1":
            at = datetime.fromtimestamp(float(request.headers["webhook-timestamp"]), tz=UTC)
            return signature == Webhook(self.secret).sign(request.id, at, body)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.secret.removeprefix("whpk_")))
        try:
            signed = f"{request.id}.{request.headers['webhook-timestamp']}.{body}".encode()
            key.verify(base64.b64decode(signature.removeprefix("v1a,")), signed)
        except (InvalidSignature, ValueError):
            return False
        return signature.startswith("v1a,")


def _signatures(headers: Mapping[str, str]) -> list[str]:
    return headers["webhook-signature"].split(" ")
