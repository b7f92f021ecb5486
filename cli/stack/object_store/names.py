"""Names of objects. A name is never a path here; what could be taken for one somewhere else is refused all the same."""

import unicodedata

#: Bytes of a name in UTF-8, as in Google Cloud Storage.
LONGEST = 1024
_FORBIDDEN = frozenset("\\%")


class InvalidName(ValueError):
    """A name that no object may have."""


def valid_name(name: str) -> str:
    """The name, if an object may have it. Raises `InvalidName`.

    Parts between slashes are neither empty nor dots; no control characters, no backslash, no percent sign (a name that
    was encoded twice).
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidName("The name of an object is valid UTF-8.") from None
    if not 0 < length <= LONGEST:
        raise InvalidName(f"The name of an object has 1 to {LONGEST} bytes.")
    if any(one in _FORBIDDEN or unicodedata.category(one) == "Cc" for one in name):
        raise InvalidName("The name of an object has no control characters, backslashes or percent signs.")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidName("The name of an object has no empty parts, and none that are dots.")
    return name


def prefix_end(prefix: str) -> str | None:
    """The first name behind all that begin so, in the order of their bytes; None when there is no end."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # No text has surrogates.
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)
