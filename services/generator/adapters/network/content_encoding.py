"""Decompression of bodies that servers compressed unasked, within a size limit, even when the header is wrong."""

import zlib
from collections.abc import AsyncIterator, Iterator

from common.memory import STEP, read_body

_GZIP = b"\x1f\x8b"
#: Beginnings of text and images: such a body is not compressed, whatever its header says.
_PLAIN = (b"{", b"[", b"<", b'"', b" ", b"\n", b"\x89PNG", b"\xff\xd8", b"RIFF")
#: `wbits` of zlib for gzip, for deflate with the zlib wrapper, and for deflate without it.
_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS


class _NotCompressed(Exception):
    """The header was wrong: the body is not compressed."""


async def decompress(body: bytes, encoding: str, *, limit: int, copies: int) -> bytes:
    """Returns the decompressed body, cut after `limit` + 1 bytes; an uncompressed body unchanged.

    Waits for memory as `read_body` does; `copies` as there. A damaged body ends at the damage.
    """
    bits = _window_bits(body, encoding)
    if bits is None:
        return body
    try:
        # One copy more: the compressed body is in memory meanwhile, and is not counted any more.
        return (await read_body(_parts(body, bits), length=None, limit=limit, copies=copies + 1))[: limit + 1]
    except _NotCompressed:
        return body


def _window_bits(body: bytes, encoding: str) -> int | None:
    """Returns zlib's `wbits` for a body, by its first bytes, or else by its header; None: it is not compressed."""
    if body.startswith(_GZIP):
        return _GZIP_BITS
    if "deflate" not in encoding.lower() or body.startswith(_PLAIN):
        return None
    # Some servers omit the zlib wrapper that "deflate" means (RFC 9110, 8.4.1.2).
    is_wrapped = body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0
    return _ZLIB_BITS if is_wrapped else _RAW_BITS


async def _parts(body: bytes, bits: int) -> AsyncIterator[bytes]:
    for part in _decompressed(body, bits):
        yield part


def _decompressed(body: bytes, bits: int) -> Iterator[bytes]:
    """Yields the decompressed body in parts. Raises `_NotCompressed` instead of the first part."""
    remaining, is_empty = body, True
    # A body may consist of several gzip members.
    while remaining and (is_empty or remaining.startswith(_GZIP)):
        decompressor = zlib.decompressobj(bits)
        try:
            while remaining and (part := decompressor.decompress(remaining, STEP)):
                remaining, is_empty = decompressor.unconsumed_tail, False
                yield part
        except zlib.error as error:
            if is_empty:
                raise _NotCompressed from error
            return
        remaining = decompressor.unused_data
        if is_empty:
            raise _NotCompressed
