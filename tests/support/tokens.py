"""Client tokens that no gateway gives any more."""

import hashlib
from datetime import UTC, datetime, timedelta

from gateway.auth import client_tokens
from gateway.auth.client_tokens import Grant


def expired_token(job_id: str, key: str) -> str:
    """A token as the service gave it yesterday, to whoever holds the key."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    grant = Grant(job_id=job_id, actions=frozenset({"read", "cancel"}), expires_at=yesterday)
    return client_tokens.mint(grant, hashlib.sha256(key.encode()).hexdigest())
