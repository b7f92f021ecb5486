"""Foreign text: what vendors say enters the domain here, once, as text that every store and message takes."""

import re

#: Most bytes of each, by what it is. A fact may have ten pictures and as many calls.
REVISED_PROMPT, MESSAGE, NAME = 16 * 1024, 2000, 200
#: An operation's name is whole or of no use: a longer one is left out.
OPERATION = 4096
CUT = " … (cut)"
#: What no text has: control characters but for tabs and line ends, and halves of surrogate pairs.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: A shorter secret is none: it would be found in words that have nothing to do with it.
SHORTEST_SECRET = 8
BLOT = "***"
#: What is left out of every text that is cleaned: the credentials of this process.
_SECRETS: set[str] = set()
#: Share of such characters from which on something is not text at all.
_BINARY = 0.1


def keep_secret(secret: str) -> None:
    """Leave a credential out of all text that is cleaned from now on: vendors repeat what they were sent."""
    if len(secret) >= SHORTEST_SECRET:
        _SECRETS.add(secret)


def forget_secret(secret: str) -> None:
    """A credential that is good no more, and that no answer under way repeats."""
    _SECRETS.discard(secret)


def clean(text: str, most: int) -> str:
    """Text in at most so many bytes of UTF-8, without secrets, and without what no database or message takes.

    Longer text ends between two characters, and says that it is cut.
    """
    # A character has at least one byte: what is far beyond the bound is not looked at.
    kept = text[: most + 1 + max(map(len, _SECRETS), default=0)]
    for secret in _SECRETS:
        kept = kept.replace(secret, BLOT)
    written = _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", kept).encode()
    if len(written) > most:
        written = written[: most - len(CUT.encode())].decode("utf-8", "ignore").encode() + CUT.encode()
    return written.decode()


def without_secrets(body: bytes) -> bytes:
    """A body that is kept as it came, but for credentials."""
    for secret in _SECRETS:
        body = body.replace(secret.encode(), BLOT.encode())
    return body


def of_bytes(body: bytes, most: int) -> str:
    """What a body says; of one that is not text its length and how it begins."""
    start = body[: 4 * most]
    text = start.decode("utf-8", "replace")
    strange = len(_NO_TEXT.findall(text)) + text.count("\N{REPLACEMENT CHARACTER}")
    if strange > _BINARY * len(text):
        return f"{len(body)} bytes that are not text, beginning with {start[:16].hex(' ')}"
    return clean(text, most)


def is_name(text: object) -> bool:
    """Whether something can be kept and sent as the name of an operation: whole, printable, not too long."""
    return isinstance(text, str) and 0 < len(text.encode("utf-8", "replace")) <= OPERATION and text.isprintable()
