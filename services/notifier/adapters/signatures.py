"""Signatures of deliveries as Standard Webhooks defines them: `v1` is HMAC-SHA256, `v1a` is Ed25519."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.notifier.domain.endpoints import SignatureScheme

# Imported where a key of Ed25519 is used: it takes 7 MB, and a notifier whose webhooks have none needs none.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: Bytes of a key: of HMAC-SHA256, or the seed of an Ed25519 key.
KEY_BYTES = 32


def new_key() -> bytes:
    """Returns a random key for either scheme."""
    return secrets.token_bytes(KEY_BYTES)


def written_secret(key: bytes) -> str:
    """Returns the shared secret of scheme `v1` as receivers enter it."""
    return f"whsec_{_base64(key)}"


def written_public_key(key: bytes) -> str:
    """Returns the public key of scheme `v1a` as receivers enter it."""
    return f"whpk_{_base64(_public_bytes(key))}"


def written_private_key(key: bytes) -> str:
    """Returns the private key of scheme `v1a`, seed and public key, for other senders of the same tenant."""
    return f"whsk_{_base64(key + _public_bytes(key))}"


def signature_header(
    webhook_id: str, timestamp: int, body: bytes, *, keys: Sequence[bytes], scheme: SignatureScheme
) -> str:
    """Returns the header `webhook-signature`: a signature per key, separated by spaces.

    `webhook_id` is the header `webhook-id`, which has no full stop; `timestamp` the header `webhook-timestamp`.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(f"{scheme.value},{_base64(_signature(key, signed, scheme))}" for key in keys)


def _signature(key: bytes, signed: bytes, scheme: SignatureScheme) -> bytes:
    if scheme is SignatureScheme.V1A:
        return _private_key(key).sign(signed)
    return hmac.digest(key, signed, hashlib.sha256)


def _public_bytes(key: bytes) -> bytes:
    return _private_key(key).public_key().public_bytes_raw()


def _private_key(key: bytes) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(key)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
