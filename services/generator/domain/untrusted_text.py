"""Text from providers, made safe: bounded, without secrets, and valid in every database and message."""

import re

#: Limits in bytes of UTF-8 by kind of text. A fact may have ten images and as many calls.
REVISED_PROMPT, MESSAGE, NAME = 16 * 1024, 2000, 200
#: Limit of an operation id in bytes. A longer one is left out, as a part of it is useless.
OPERATION = 4096
#: End of a text that was cut off.
CUT = " … (cut)"
#: Characters that no text has: control characters except tabs and line ends, and halves of surrogate pairs.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: Characters of the shortest secret that is removed: a shorter one would also match ordinary words.
SHORTEST_SECRET = 8
#: Stands for a removed secret.
BLOT = "***"
#: Credentials of this process, which are removed from every cleaned text.
_SECRETS: set[str] = set()
#: Share of such characters above which a body is not text.
_BINARY = 0.1


def register_secret(secret: str) -> None:
    """Removes a credential from all text that is cleaned from now on: providers repeat what they receive."""
    if len(secret) >= SHORTEST_SECRET:
        _SECRETS.add(secret)


def forget_secret(secret: str) -> None:
    """Stops removing a credential that has expired and that no pending response can repeat."""
    _SECRETS.discard(secret)


def clean(text: str, limit: int) -> str:
    """Returns a text of up to `limit` bytes of UTF-8, without secrets or characters that a database may refuse.

    A longer text is cut between two characters and ends with `CUT`.
    """
    # A character has at least one byte: text far beyond the limit needs no processing.
    cleaned = text[: limit + 1 + max(map(len, _SECRETS), default=0)]
    for secret in _SECRETS:
        cleaned = cleaned.replace(secret, BLOT)
    encoded = _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", cleaned).encode()
    if len(encoded) > limit:
        encoded = encoded[: limit - len(CUT.encode())].decode("utf-8", "ignore").encode() + CUT.encode()
    return encoded.decode()


def without_secrets(body: bytes) -> bytes:
    """Returns a body unchanged except that credentials are replaced."""
    for secret in _SECRETS:
        body = body.replace(secret.encode(), BLOT.encode())
    return body


def of_bytes(body: bytes, limit: int) -> str:
    """Returns the text of a body in up to `limit` bytes; for a binary body, its length and its first 16 bytes."""
    start = body[: 4 * limit]
    text = start.decode("utf-8", "replace")
    invalid = len(_NO_TEXT.findall(text)) + text.count("\N{REPLACEMENT CHARACTER}")
    if invalid > _BINARY * len(text):
        return f"{len(body)} bytes that are not text, beginning with {start[:16].hex(' ')}"
    return clean(text, limit)


def is_name(text: object) -> bool:
    """Returns whether a value can be stored and sent as an operation id: printable, 1 to `OPERATION` bytes."""
    return isinstance(text, str) and 0 < len(text.encode("utf-8", "replace")) <= OPERATION and text.isprintable()
