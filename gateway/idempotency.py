"""The Idempotency-Key header: read, or made, so that every POST can be asked again safely."""

import re

from fastapi import Request

from common.ids import new_uuid7
from gateway.problems import Violation, invalid

HEADER = "Idempotency-Key"
_VISIBLE = re.compile(r"[!-~]{1,255}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


def key_of(request: Request) -> str:
    """The key that the client sent, quoted or bare; one of our own when it sent none.

    The own one makes the gateway's retries safe. Raises `Problem` INVALID_INPUT.
    """
    sent = request.headers.getlist(HEADER)
    if not sent:
        return f"gateway-{new_uuid7().hex}"
    written = sent[0].strip()
    if quoted := _QUOTED.fullmatch(written):
        written = re.sub(r'\\(["\\])', r"\1", quoted[1])
    elif written.startswith('"'):
        written = ""
    if len(sent) > 1 or not _VISIBLE.fullmatch(written):
        message = "Send it once, with 1 to 255 visible ASCII characters, quoted or bare."
        raise invalid([Violation(field=HEADER, message=message)])
    return written
