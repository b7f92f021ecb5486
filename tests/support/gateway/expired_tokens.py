"""Client tokens that no gateway gives any more."""

import hashlib
from datetime import UTC, datetime, timedelta

from gateway.auth import client_tokens
from gateway.auth.client_tokens import Grant


def expired_token(job_id: str, key: str) -> str:
    """Returns an expired token, as the service made it yesterday for this key."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    grant = Grant(job_id=job_id, actions=frozenset({"read", "cancel"}), expires_at=yesterday)
    return client_tokens.mint(grant, hashlib.sha256(key.encode()).hexdigest())
