"""Ids: time-ordered UUIDs, written with a prefix that tells what they name."""

from uuid import UUID

import uuid_utils.compat


def new_uuid7() -> UUID:
    """A new UUIDv7."""
    return uuid_utils.compat.uuid7()


def prefixed(prefix: str, value: UUID) -> str:
    """Write an id, e.g. `job_` and 32 hex characters."""
    return f"{prefix}_{value.hex}"


def parse(prefix: str, written: str) -> UUID:
    """Read an id back. Raises ValueError when it is not one of this prefix."""
    head, _, tail = written.partition("_")
    if head != prefix or len(tail) != 32:
        raise ValueError(f"not an id that begins with {prefix}_")
    return UUID(hex=tail)
