"""Call tokens: a worker receives one with each call that it sends, follows or settles, and adds it to its facts."""

import hmac

from common.sql import Connection
from services.job.store import secrets

#: The name of the key in the table `secrets`.
CALL_TOKENS = "call_tokens"


class CallTokens:
    """Makes and checks tokens: an HMAC-SHA256 over job id and call id, so that no token is stored."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, *, job_id: str, call_id: str) -> bytes:
        """Returns the token of a call, 32 bytes."""
        job = job_id.encode()
        return hmac.digest(self._key, len(job).to_bytes(8, "big") + job + call_id.encode(), "sha256")

    def fits(self, token: bytes, *, job_id: str, call_id: str) -> bool:
        """Whether the token belongs to the call."""
        return hmac.compare_digest(token, self.of(job_id=job_id, call_id=call_id))


def read(connection: Connection) -> CallTokens:
    """Returns the tokens under the key that all replicas share."""
    return CallTokens(secrets.read(connection, CALL_TOKENS))
