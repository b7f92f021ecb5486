"""Seeds of calls that were given none."""

import hashlib

#: 53 bits: a seed survives JSON readers that know only floating-point numbers.
SEED_BITS = 53


def seed_of(key: str) -> int:
    """A seed for a call that has none: the same when the call is sent again."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> (64 - SEED_BITS)
