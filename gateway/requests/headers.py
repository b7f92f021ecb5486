"""Request headers: `Idempotency-Key`, `Prefer: wait`, `If-None-Match`, `Last-Event-ID`."""

import re

from fastapi import Request

from common.ids import new_uuid7
from gateway.problems.problem import Violation, invalid

IDEMPOTENCY_KEY = "Idempotency-Key"
_VISIBLE = re.compile(r"[!-~]{1,255}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
MAX_WAIT_SECONDS = 60
_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,6})\"?", re.IGNORECASE)
_SEQUENCE = re.compile(r"[0-9]{1,18}")


def wait_seconds(request: Request) -> int | None:
    """Returns N of `Prefer: wait=N`, at most 60 seconds; None without that preference, or if it cannot be parsed."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        if match := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(match[1]), MAX_WAIT_SECONDS) or None
    return None


def etag(sequence: int) -> str:
    """Returns the weak ETag of a job at this sequence."""
    return f'W/"{sequence}"'


def matches_etag(request: Request, sequence: int) -> bool:
    """Returns whether `If-None-Match` names this sequence, so that the client has this version of the job already."""
    tags = [tag.strip().removeprefix("W/") for tag in ",".join(request.headers.getlist("if-none-match")).split(",")]
    return "*" in tags or f'"{sequence}"' in tags


def parse_sequence(text: str) -> int | None:
    """Returns the sequence that a client sends back; None if it cannot be one, so that a stream begins anew."""
    return int(text) if _SEQUENCE.fullmatch(text) else None


def idempotency_key(request: Request) -> str:
    """Returns the client's Idempotency-Key, quoted or bare; a new key if the client sent none.

    The new key makes the gateway's own retries safe. Raises `Problem` INVALID_INPUT.
    """
    sent = request.headers.getlist(IDEMPOTENCY_KEY)
    if not sent:
        return f"gateway-{new_uuid7().hex}"
    key = sent[0].strip()
    if quoted := _QUOTED.fullmatch(key):
        key = re.sub(r'\\(["\\])', r"\1", quoted[1])
    elif key.startswith('"'):
        key = ""
    if len(sent) > 1 or not _VISIBLE.fullmatch(key):
        message = "Send this header once, with 1 to 255 visible ASCII characters, with or without quotes."
        raise invalid([Violation(field=IDEMPOTENCY_KEY, message=message)])
    return key
