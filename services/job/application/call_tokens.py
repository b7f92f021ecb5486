"""Tokens of calls: given to whoever may send, follow or settle one, and shown with each fact about it."""

import hmac

from sqlalchemy import Connection

from services.job.store import secrets

#: The name of the key in the table `secrets`.
CALL_TOKENS = "call_tokens"


class CallTokens:
    """Makes and checks tokens: an HMAC over job and call, so that none is stored."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, *, job_id: str, call_id: str) -> bytes:
        """The token of a call."""
        job = job_id.encode()
        return hmac.digest(self._key, len(job).to_bytes(8, "big") + job + call_id.encode(), "sha256")

    def fits(self, token: bytes, *, job_id: str, call_id: str) -> bool:
        """Whether a token is that of the call."""
        return hmac.compare_digest(token, self.of(job_id=job_id, call_id=call_id))


def read(connection: Connection) -> CallTokens:
    """With the key that all replicas share."""
    return CallTokens(secrets.read(connection, CALL_TOKENS))
