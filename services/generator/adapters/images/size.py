"""Width and height of an encoded image from its header, without decoding it; never raises."""

import struct

#: JPEG markers that begin a frame; the others from C0 to CF hold tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: JPEG markers without a length.
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END = 0xDA, 0xD9


def size_of(data: bytes) -> tuple[int, int] | None:
    """Returns width and height in pixels as stored, before any EXIF rotation; None for an unreadable header."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"\xff\xd8"):
            return _of_jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _of_webp(data)
    except (struct.error, IndexError):
        pass
    return None


def _of_jpeg(data: bytes) -> tuple[int, int] | None:
    """Returns the size of the largest frame: a decoder may use any of them."""
    largest: tuple[int, int] | None = None
    offset = 2
    while offset + 4 <= len(data):
        if data[offset] != 0xFF or data[offset + 1] in (0x00, 0xFF):
            offset += 1
            continue
        marker = data[offset + 1]
        if marker in (_START_OF_SCAN, _END):
            break
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, offset + 5)
            largest = max(largest or (0, 0), (width, height), key=lambda size: size[0] * size[1])
        offset += 2 if marker in _ALONE else 2 + int(struct.unpack_from(">H", data, offset + 2)[0])
    return largest


def _of_webp(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X" if len(data) >= 30:
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None
