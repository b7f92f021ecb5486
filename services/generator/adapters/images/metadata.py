"""Removes the metadata of an encoded image without touching its pixels.

Data that controls how pixels are shown stays: colour profiles and the like, and the orientation. Unknown data is
removed, and so are bytes after the image's end.
"""

import re
import struct
import zlib
from collections.abc import Iterator

#: EXIF orientation of an image that needs no rotation.
UPRIGHT = 1
_PNG = b"\x89PNG\r\n\x1a\n"
#: Chunks that stay: pixels, frames of an animation, colour, and the shape of a pixel.
_OF_PNG = frozenset(
    b"IHDR PLTE IDAT IEND tRNS acTL fcTL fdAT iCCP sRGB gAMA cHRM sBIT cICP mDCV mDCv cLLI cLLi bKGD pHYs".split()
)
_OF_WEBP = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
#: Flags of VP8X for EXIF and XMP.
_EXIF_FLAG, _XMP_FLAG = 0x08, 0x04
#: JPEG markers without a length.
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
#: A marker after the data of a scan: neither an escaped byte, nor a restart marker, nor a fill byte.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EXIF, _ORIENTATION, _SHORT = b"Exif\0\0", 0x0112, 3


class _Malformed(Exception):
    """The container of the image is malformed."""


def without_metadata(data: bytes, *, keep_provenance: bool) -> bytes | None:
    """Returns the image without metadata; None when its container cannot be parsed.

    `keep_provenance` keeps C2PA manifests.
    """
    try:
        if data.startswith(_PNG):
            return b"".join(_png(data, keep_provenance=keep_provenance))
        if data.startswith(b"\xff\xd8"):
            return b"".join(_jpeg(data, keep_provenance=keep_provenance))
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data, keep_provenance=keep_provenance)
    except (_Malformed, struct.error, IndexError):
        pass
    return None


def _png(data: bytes, *, keep_provenance: bool) -> Iterator[bytes]:
    yield _PNG
    offset = len(_PNG)
    # A truncated image may have all of its pixels.
    while offset + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        kind, end = data[offset + 4 : offset + 8], offset + 12 + length
        if end > len(data):
            if kind not in (b"IDAT", b"IEND"):
                raise _Malformed
            yield data[offset:]
            return
        if kind in _OF_PNG or (keep_provenance and kind == b"caBX"):
            yield data[offset:end]
        elif kind == b"eXIf" and (turn := _turn(data[offset + 8 : end - 4])) != UPRIGHT:
            exif = _exif(turn)
            yield struct.pack(">I", len(exif)) + kind + exif + struct.pack(">I", zlib.crc32(kind + exif))
        if kind == b"IEND":
            return
        offset = end


def _jpeg(data: bytes, *, keep_provenance: bool) -> Iterator[bytes]:
    yield data[:2]
    offset = 2
    while offset < len(data):
        if data[offset] != 0xFF:
            raise _Malformed
        marker = data[offset + 1]
        if marker == 0xFF:
            offset += 1
            continue
        if marker == _END:
            yield data[offset : offset + 2]
            return
        end = offset + 2 if marker in _ALONE else offset + 2 + int(struct.unpack_from(">H", data, offset + 2)[0])
        if marker == _SCAN:
            next_marker = _AFTER_SCAN.search(data, end)
            end = next_marker.start() if next_marker else len(data)
        if end > len(data):
            raise _Malformed
        yield _segment(data[offset:end], marker, keep_provenance=keep_provenance)
        offset = end


def _segment(segment: bytes, marker: int, *, keep_provenance: bool) -> bytes:
    """Returns the part of a JPEG segment that stays; empty when it is removed."""
    content = segment[4:]
    if marker not in _APPLICATION and marker != _COMMENT:
        return segment
    # JFIF and Adobe segments say how colours are stored.
    known = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"} | ({0xEB: b"JP"} if keep_provenance else {})
    if marker in known and content.startswith(known[marker]):
        return segment
    if marker == 0xE1 and content.startswith(_EXIF) and (turn := _turn(content[len(_EXIF) :])) != UPRIGHT:
        exif = _EXIF + _exif(turn)
        return segment[:2] + struct.pack(">H", len(exif) + 2) + exif
    return b""


def _webp(data: bytes, *, keep_provenance: bool) -> bytes:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise _Malformed
    chunks = []
    offset, whole = 12, size + 8
    while offset + 8 <= whole:
        kind = data[offset : offset + 4]
        (length,) = struct.unpack_from("<I", data, offset + 4)
        end = offset + 8 + length
        if end > whole:
            raise _Malformed
        content = data[offset + 8 : end]
        if kind == b"EXIF":
            turn = _turn(content.removeprefix(_EXIF))
            content = b"" if turn == UPRIGHT else _exif(turn)
        elif kind not in _OF_WEBP and not (keep_provenance and kind == b"C2PA"):
            content = b""
        if content:
            chunks.append((kind, content))
        offset = end + length % 2
    has_exif = any(kind == b"EXIF" for kind, _ in chunks)
    body = b"WEBP" + b"".join(_chunk(kind, content, has_exif=has_exif) for kind, content in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, content: bytes, *, has_exif: bool) -> bytes:
    if kind == b"VP8X":
        flags = content[0] & ~(_EXIF_FLAG | _XMP_FLAG) | (_EXIF_FLAG if has_exif else 0)
        content = bytes((flags,)) + content[1:]
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _turn(exif: bytes) -> int:
    """Returns the orientation in EXIF data, 1 to 8; `UPRIGHT` when there is none that can be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, directory + 2 + 12 * number)
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return int(value) if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def _exif(turn: int) -> bytes:
    """Returns EXIF data with the orientation only."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _ORIENTATION, _SHORT, 1, turn, 0, 0)
