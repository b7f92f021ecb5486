"""Request headers that shape an answer: `Prefer: wait`, `If-None-Match`, `Last-Event-ID`."""

import re

from fastapi import Request

LONGEST_WAIT = 60
_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,6})\"?", re.IGNORECASE)
_SEQUENCE = re.compile(r"[0-9]{1,18}")


def wait_seconds(request: Request) -> int | None:
    """Seconds that the client prefers to wait, at most 60; None when it does not, or says so in no way known."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        if found := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(found[1]), LONGEST_WAIT) or None
    return None


def etag(sequence: int) -> str:
    """The weak tag of a job at a sequence."""
    return f'W/"{sequence}"'


def knows(request: Request, sequence: int) -> bool:
    """Whether `If-None-Match` says that the client has this sequence already."""
    tags = [tag.strip().removeprefix("W/") for tag in ",".join(request.headers.getlist("if-none-match")).split(",")]
    return "*" in tags or f'"{sequence}"' in tags


def sequence_of(written: str) -> int | None:
    """A sequence as a client sends it back; None for anything else, which is answered with a snapshot."""
    return int(written) if _SEQUENCE.fullmatch(written) else None
