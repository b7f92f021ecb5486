"""Width and height of an encoded image, by its header alone: nothing is decoded, and nothing raises."""

import struct

#: Markers of a JPEG that begin a frame; the others between C0 and CF hold tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Markers that stand alone, without a length.
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END = 0xDA, 0xD9


def size_of(data: bytes) -> tuple[int, int] | None:
    """The size in pixels as it is stored; None where the header cannot be read."""
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
    """The largest of its frames: a decoder may take any of them."""
    found: tuple[int, int] | None = None
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF or data[place + 1] in (0x00, 0xFF):
            place += 1
            continue
        marker = data[place + 1]
        if marker in (_START_OF_SCAN, _END):
            break
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            found = max(found or (0, 0), (width, height), key=lambda one: one[0] * one[1])
        place += 2 if marker in _ALONE else 2 + int(struct.unpack_from(">H", data, place + 2)[0])
    return found


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
