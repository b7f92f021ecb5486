"""Names of objects. A name is never used as a path here; names that could be unsafe as a path elsewhere are refused."""

import unicodedata

#: Largest name in bytes of UTF-8, as in Google Cloud Storage.
LONGEST = 1024
_FORBIDDEN = frozenset("\\%")


class InvalidName(ValueError):
    """A name that an object cannot have."""


def valid_name(name: str) -> str:
    """Returns the name if an object can have it. Raises `InvalidName`.

    Parts between slashes are neither empty nor `.` or `..`. There are no control characters, no backslash, and no
    percent sign, which a name has that was encoded twice.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidName("The name of an object must be valid UTF-8.") from None
    if not 0 < length <= LONGEST:
        raise InvalidName(f"The name of an object must have 1 to {LONGEST} bytes.")
    if any(character in _FORBIDDEN or unicodedata.category(character) == "Cc" for character in name):
        raise InvalidName("The name of an object must have no control characters, backslashes or percent signs.")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidName("The name of an object must have no parts that are empty, . or ..")
    return name


def prefix_end(prefix: str) -> str | None:
    """The first name, in byte order, after all names with the prefix; None when there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    # Valid text has no surrogates.
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)
