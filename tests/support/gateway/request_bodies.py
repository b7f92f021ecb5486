"""Pieces of request bodies."""

import base64

#: The beginning of a PNG.
PNG_BASE64 = base64.b64encode(b"\x89PNG").decode()


def raw(field: str) -> bytes:
    """A body with one more field, written as it is: JSON or not."""
    return b'{"prompt": "a", ' + field.encode("utf-8", "surrogatepass") + b"}"
