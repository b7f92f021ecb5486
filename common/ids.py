"""Ids: time-ordered UUIDs, written with a prefix for the kind of object, and the names of processes."""

import os
import socket
from uuid import UUID

import uuid_utils.compat


def new_uuid7() -> UUID:
    """Returns a new UUIDv7."""
    return uuid_utils.compat.uuid7()


def prefixed(prefix: str, value: UUID) -> str:
    """Returns an id as text: the prefix, `_` and 32 hex characters."""
    return f"{prefix}_{value.hex}"


def parse(prefix: str, written: str) -> UUID:
    """Returns the UUID of a written id. Raises `ValueError` when the id is malformed or has another prefix."""
    head, _, tail = written.partition("_")
    if head != prefix or len(tail) != 32:
        raise ValueError(f"not an id that begins with {prefix}_")
    return UUID(hex=tail)


def process_name(service: str) -> str:
    """Returns the name of this process among all that run: `service/host/process id`."""
    return f"{service}/{socket.gethostname()}/{os.getpid()}"
