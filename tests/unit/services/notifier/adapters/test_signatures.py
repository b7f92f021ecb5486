"""Signatures that receivers verify with the public libraries, and with nothing but a public key."""

import base64
import json
import time
from collections.abc import Callable, Sequence

import pytest
import standardwebhooks
import svix.webhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.notifier.adapters.signatures import (
    new_key,
    signature_header,
    written_private_key,
    written_public_key,
    written_secret,
)
from services.notifier.domain.endpoints import SignatureScheme

ID = "msg_0192f0c1a2b37c4d8e5f60718293a4b5"
BODY = json.dumps({"type": "job.completed", "data": {"prompt": "a fox – \N{FOX FACE}"}}, ensure_ascii=False).encode()
#: Ed25519 seed and public key, RFC 8032, 7.1, test 1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

Verify = Callable[[str, bytes, dict[str, str]], None]


def _with_standardwebhooks(secret: str, body: bytes, headers: dict[str, str]) -> None:
    standardwebhooks.Webhook(secret).verify(body, headers)


def _with_svix(secret: str, body: bytes, headers: dict[str, str]) -> None:
    svix.webhooks.Webhook(secret).verify(body, headers)


VERIFIERS = pytest.mark.parametrize("verify", [_with_standardwebhooks, _with_svix])
REFUSED = (standardwebhooks.WebhookVerificationError, svix.webhooks.WebhookVerificationError)


def headers(
    keys: Sequence[bytes], *, at: float | None = None, scheme: SignatureScheme = SignatureScheme.V1
) -> dict[str, str]:
    """The headers of a delivery, made now or `at` a Unix time."""
    timestamp = int(time.time() if at is None else at)
    return {
        "webhook-id": ID,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature_header(ID, timestamp, BODY, keys=keys, scheme=scheme),
    }


def test_the_example_of_the_specification_is_signed_as_there() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'

    header = signature_header("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, keys=[key], scheme=SignatureScheme.V1)

    assert header == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_keys_are_random_and_written_with_their_kind() -> None:
    key = new_key()

    assert len({new_key() for _ in range(100)}) == 100
    assert base64.b64decode(written_secret(key).removeprefix("whsec_"), validate=True) == key
    assert len(key) == 32


def test_an_ed25519_key_is_written_as_its_seed_and_public_key() -> None:
    assert written_public_key(SEED) == f"whpk_{base64.b64encode(PUBLIC).decode()}"
    assert written_private_key(SEED) == f"whsk_{base64.b64encode(SEED + PUBLIC).decode()}"


@VERIFIERS
def test_public_libraries_verify_a_delivery(verify: Verify) -> None:
    key = new_key()

    verify(written_secret(key), BODY, headers([key]))


@VERIFIERS
def test_either_of_two_live_secrets_verifies_and_an_expired_one_does_not(verify: Verify) -> None:
    new, old = new_key(), new_key()

    verify(written_secret(new), BODY, headers([new, old]))
    verify(written_secret(old), BODY, headers([new, old]))
    with pytest.raises(REFUSED):
        verify(written_secret(old), BODY, headers([new]))


@VERIFIERS
def test_a_tampered_replayed_or_foreign_delivery_is_refused(verify: Verify) -> None:
    key = new_key()
    secret = written_secret(key)

    with pytest.raises(REFUSED, match="signature"):
        verify(secret, BODY.replace(b"completed", b"failed"), headers([key]))
    with pytest.raises(REFUSED, match="signature"):
        verify(secret, BODY, {**headers([key]), "webhook-id": "msg_other"})
    with pytest.raises(REFUSED, match="signature"):
        verify(secret, BODY, {**headers([key]), "webhook-timestamp": str(int(time.time()) - 60)})
    with pytest.raises(REFUSED, match="too old"):
        verify(secret, BODY, headers([key], at=time.time() - 301))
    with pytest.raises(REFUSED, match="signature"):
        verify(written_secret(new_key()), BODY, headers([key]))


@VERIFIERS
def test_a_signature_of_the_other_scheme_is_not_taken_for_one_with_the_secret(verify: Verify) -> None:
    key = new_key()

    with pytest.raises(REFUSED):
        verify(written_secret(key), BODY, headers([key], scheme=SignatureScheme.V1A))


def test_the_public_key_verifies_each_signature_of_v1a() -> None:
    new, old = new_key(), SEED
    made = headers([new, old], scheme=SignatureScheme.V1A)
    signed = f"{ID}.{made['webhook-timestamp']}.".encode() + BODY
    signatures = [written.split(",") for written in made["webhook-signature"].split(" ")]
    keys = [
        Ed25519PublicKey.from_public_bytes(base64.b64decode(written_public_key(key).removeprefix("whpk_")))
        for key in (new, old)
    ]

    assert [name for name, _ in signatures] == ["v1a", "v1a"]
    for key, (_, signature) in zip(keys, signatures, strict=True):
        key.verify(base64.b64decode(signature), signed)
        with pytest.raises(InvalidSignature):
            key.verify(base64.b64decode(signature), signed + b" ")
    with pytest.raises(InvalidSignature):
        keys[0].verify(base64.b64decode(signatures[1][1]), signed)
