"""Client tokens: a browser's access to one job, signed with a secret that is derived from the tenant's API key."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.schemas.client_tokens import TokenAction

# PyJWT is imported where tokens are made and read: it takes 8 MB, and a gateway whose clients use no tokens needs none.
if TYPE_CHECKING:
    import jwt

#: Characters of a token.
MAX_LENGTH = 2048
_ALGORITHM = "HS256"
#: Binds the derived secret to this use; a different use of the same digest needs a different text.
_PURPOSE = b"calotype client token v1"
#: Expiry is checked by the reader of the grant, with its own clock; the library would use the system's.
_LIBRARY_CHECKS: "jwt.types.Options" = {"verify_exp": False}


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a client token allows."""

    job_id: str
    """The only job that it gives access to."""
    actions: frozenset[TokenAction]
    """What its holder may do with the job."""
    expires_at: datetime
    """When it expires, in UTC, in whole seconds."""


class _Claims(BaseModel):
    """The payload of the JWT."""

    model_config = ConfigDict(extra="forbid", strict=True)

    #: Id of the job.
    sub: Annotated[str, Field(min_length=1, max_length=80)]
    #: Allowed actions.
    act: Annotated[list[TokenAction], Field(min_length=1, max_length=3)]
    #: Expiry, in seconds since 1970.
    exp: Annotated[int, Field(gt=0, lt=2**40)]


def ordered(actions: Iterable[TokenAction]) -> list[TokenAction]:
    """Returns the actions without duplicates, in the order of the API's schema."""
    chosen = set(actions)
    return [action for action in get_args(TokenAction) if action in chosen]


def mint(grant: Grant, key_sha256: str) -> str:
    """Returns a token for the grant, signed with the secret of the key that has this digest."""
    import jwt

    claims = {"sub": grant.job_id, "act": ordered(grant.actions), "exp": int(grant.expires_at.timestamp())}
    return jwt.encode(claims, _signing_key(key_sha256), algorithm=_ALGORITHM, headers={"kid": _key_id(key_sha256)})


def read(token: str, key_digests: Iterable[str]) -> tuple[str, Grant] | None:
    """Returns the digest of the key that signed the token, and the grant; None if no key of these signed it.

    Does not check the expiry: the caller compares `expires_at` with its clock.
    """
    if len(token) > MAX_LENGTH or token.count(".") != 2 or not token.isascii() or not _is_canonical(token):
        return None
    import jwt

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
    import jwt

    try:
        payload = jwt.decode(
            token, _signing_key(key_sha256), algorithms=[_ALGORITHM], options=_LIBRARY_CHECKS, leeway=0
        )
        claims = _Claims.model_validate(payload)
    except (jwt.InvalidTokenError, ValidationError):
        return None
    expires_at = datetime.fromtimestamp(claims.exp, UTC)
    return Grant(job_id=claims.sub, actions=frozenset(claims.act), expires_at=expires_at)


def _is_canonical(token: str) -> bool:
    """Returns whether the base64 of the signature is canonical, so that a token has only one valid form."""
    from jwt import utils

    signature = token.rpartition(".")[2]
    try:
        return utils.base64url_encode(utils.base64url_decode(signature)) == signature.encode()
    except ValueError:
        return False


def _signing_key(key_sha256: str) -> bytes:
    return hmac.new(bytes.fromhex(key_sha256), _PURPOSE, hashlib.sha256).digest()


def _key_id(key_sha256: str) -> str:
    return key_sha256[:8]
