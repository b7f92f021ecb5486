"""Client tokens: what a browser may do with one job, signed with what the keys file already holds."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, get_args

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.schemas.client_tokens import TokenAction

LARGEST = 2048
_ALGORITHM = "HS256"
#: Binds derived keys to this use; another use of the same digest takes other words.
_PURPOSE = b"calotype client token v1"
#: Expiry is checked by the clock of whoever reads the token; the library would take the machine's.
_LIBRARY_CHECKS: jwt.types.Options = {"verify_exp": False}


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What the holder of a token may do, and until when."""

    job_id: str
    actions: frozenset[TokenAction]
    expires_at: datetime


class _Claims(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    sub: Annotated[str, Field(min_length=1, max_length=80)]
    act: Annotated[list[TokenAction], Field(min_length=1, max_length=3)]
    exp: Annotated[int, Field(gt=0, lt=2**40)]


def ordered(actions: Iterable[TokenAction]) -> list[TokenAction]:
    """Actions, each once, in the order of the contract."""
    chosen = set(actions)
    return [one for one in get_args(TokenAction) if one in chosen]


def mint(grant: Grant, key_sha256: str) -> str:
    """A token, signed under the key that has this digest."""
    claims = {"sub": grant.job_id, "act": ordered(grant.actions), "exp": int(grant.expires_at.timestamp())}
    return jwt.encode(claims, _signing_key(key_sha256), algorithm=_ALGORITHM, headers={"kid": _key_id(key_sha256)})


def read(token: str, key_digests: Iterable[str]) -> tuple[str, Grant] | None:
    """The digest under which a token is signed, and what it grants; None for anything that is not a token of ours.

    Whether it has expired is for the asker to see.
    """
    if len(token) > LARGEST or not token.isascii() or not _is_canonical(token):
        return None
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        return None
    for digest in key_digests:
        if header == {"alg": _ALGORITHM, "typ": "JWT", "kid": _key_id(digest)}:
            grant = _verified(token, digest)
            if grant is not None:
                return digest, grant
    return None


def _verified(token: str, key_sha256: str) -> Grant | None:
    try:
        found = jwt.decode(token, _signing_key(key_sha256), algorithms=[_ALGORITHM], options=_LIBRARY_CHECKS, leeway=0)
        claims = _Claims.model_validate(found)
    except (jwt.InvalidTokenError, ValidationError):
        return None
    expires_at = datetime.fromtimestamp(claims.exp, UTC)
    return Grant(job_id=claims.sub, actions=frozenset(claims.act), expires_at=expires_at)


def _is_canonical(token: str) -> bool:
    """Whether the signature, which nothing signs, is written in the one way that base64 should have."""
    signature = token.rpartition(".")[2]
    try:
        return jwt.utils.base64url_encode(jwt.utils.base64url_decode(signature)) == signature.encode()
    except ValueError:
        return False


def _signing_key(key_sha256: str) -> bytes:
    return hmac.new(bytes.fromhex(key_sha256), _PURPOSE, hashlib.sha256).digest()


def _key_id(key_sha256: str) -> str:
    return key_sha256[:8]
