"""Bodies that come packed although nobody asked for it, whatever their label says: unpacked within bounds."""

import zlib
from collections.abc import AsyncIterator, Iterator

from common.memory import STEP, read_body

_GZIP = b"\x1f\x8b"
#: How text and pictures begin: they are not packed, whatever their label says.
_PLAIN = (b"{", b"[", b"<", b'"', b" ", b"\n", b"\x89PNG", b"\xff\xd8", b"RIFF")
_GZIPPED, _WRAPPED, _BARE = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS


class _NotPacked(Exception):
    """The label was wrong."""


async def unpacked(body: bytes, encoding: str, *, most: int, copies: int) -> bytes:
    """What a body unpacks to, in at most one byte more than `most`; the body itself where it is not packed.

    Memory for it is waited for as for a body that is read; `copies` as there. One that is damaged ends at the damage.
    """
    wrapper = _wrapper(body, encoding)
    if wrapper is None:
        return body
    try:
        # The packed one is there meanwhile, and not counted any more.
        return (await read_body(_parts(body, wrapper), length=None, most=most, copies=copies + 1))[: most + 1]
    except _NotPacked:
        return body


def _wrapper(body: bytes, encoding: str) -> int | None:
    """How a body is packed: by its first bytes, which no text and no picture begins with; else by its label."""
    if body.startswith(_GZIP):
        return _GZIPPED
    if "deflate" not in encoding.lower() or body.startswith(_PLAIN):
        return None
    # Some leave out the wrapper that the label means (RFC 9110, 8.4.1.2).
    is_wrapped = body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0
    return _WRAPPED if is_wrapped else _BARE


async def _parts(body: bytes, wrapper: int) -> AsyncIterator[bytes]:
    for part in _pieces(body, wrapper):
        yield part


def _pieces(body: bytes, wrapper: int) -> Iterator[bytes]:
    """What a body unpacks to, piece by piece. Raises `_NotPacked` in place of the first."""
    left, is_empty = body, True
    # Some are made of several, one after the other.
    while left and (is_empty or left.startswith(_GZIP)):
        unpacking = zlib.decompressobj(wrapper)
        try:
            while left and (piece := unpacking.decompress(left, STEP)):
                left, is_empty = unpacking.unconsumed_tail, False
                yield piece
        except zlib.error as error:
            if is_empty:
                raise _NotPacked from error
            return
        left = unpacking.unused_data
        if is_empty:
            raise _NotPacked
