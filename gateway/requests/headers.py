"""Request headers: `Idempotency-Key`, `Prefer: wait`, `If-None-Match`, `Last-Event-ID`."""

import re

from fastapi import Request

from common.ids import new_uuid7
from gateway.problems.problem import Violation, invalid

IDEMPOTENCY_KEY = "Idempotency-Key"
_VISIBLE = re.compile(r"[!-~]{1,255}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
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


def idempotency_key(request: Request) -> str:
    """The key that the client sent, quoted or bare; one of our own when it sent none.

    The own one makes the gateway's retries safe. Raises `Problem` INVALID_INPUT.
    """
    sent = request.headers.getlist(IDEMPOTENCY_KEY)
    if not sent:
        return f"gateway-{new_uuid7().hex}"
    written = sent[0].strip()
    if quoted := _QUOTED.fullmatch(written):
        written = re.sub(r'\\(["\\])', r"\1", quoted[1])
    elif written.startswith('"'):
        written = ""
    if len(sent) > 1 or not _VISIBLE.fullmatch(written):
        message = "Send it once, with 1 to 255 visible ASCII characters, quoted or bare."
        raise invalid([Violation(field=IDEMPOTENCY_KEY, message=message)])
    return written
