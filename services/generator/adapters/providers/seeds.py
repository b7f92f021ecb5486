"""Seeds of calls whose job has none."""

import hashlib

#: JSON readers with only floating-point numbers keep 53 bits exactly.
SEED_BITS = 53


def seed_of(key: str) -> int:
    """Returns a seed made from a call's key, so that a repeated call has the same one."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> (64 - SEED_BITS)
