"""Encoded images by their first bytes, and as text for vendors who want them so."""

import base64

_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))
UNKNOWN = "application/octet-stream"


def content_type(data: bytes) -> str:
    """What an encoded image is; `UNKNOWN` for anything else."""
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), UNKNOWN)


def bare(data: bytes) -> str:
    """As base64 alone."""
    return base64.b64encode(data).decode()


def data_uri(data: bytes) -> str:
    """As an address that holds the image itself."""
    return f"data:{content_type(data)};base64,{bare(data)}"
