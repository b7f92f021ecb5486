"""BlurHash of a thumbnail: the few lowest frequencies of its linear colours, as 28 characters.

The algorithm is that of https://github.com/woltapp/blurhash. A frequency is a product of two cosines, so rows are
summed up before columns are: 32 by 32 pixels take a tenth of the time of the sum over all pixels per frequency.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import mul

#: Frequencies across and down.
COMPONENTS = (4, 3)
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_LEVELS = [value / 255.0 for value in range(256)]
#: Linear light, 0 to 1, of each value of an sRGB channel.
_LINEAR = [level / 12.92 if level <= 0.04045 else math.pow((level + 0.055) / 1.055, 2.4) for level in _LEVELS]

#: Red, green and blue of one frequency.
_Colour = tuple[float, float, float]


def encoded(pixels: bytes, width: int) -> str:
    """Returns the BlurHash of an image; `pixels` has three bytes per pixel, row by row, at least one."""
    height = len(pixels) // (3 * width)
    channels = [_frequencies(pixels[channel::3], width, height) for channel in range(3)]
    average, *others = zip(*channels, strict=True)
    largest = max(abs(value) for colour in others for value in colour)
    quantized = max(0, min(82, math.floor(largest * 166 - 0.5)))
    parts = [_base83(COMPONENTS[0] - 1 + 9 * (COMPONENTS[1] - 1), 1), _base83(quantized, 1)]
    parts.append(_base83(_average_code(average), 4))
    parts += [_base83(_code(colour, (quantized + 1) / 166), 2) for colour in others]
    return "".join(parts)


def _frequencies(channel: bytes, width: int, height: int) -> list[float]:
    """Returns the strength of each frequency in one channel, row by row."""
    linear = list(map(_LINEAR.__getitem__, channel))
    rows = [linear[start : start + width] for start in range(0, width * height, width)]
    across = [[_sum(row, cosines) for row in rows] for cosines in _cosines(width, COMPONENTS[0])]
    found = [_sum(sums, cosines) for cosines in _cosines(height, COMPONENTS[1]) for sums in across]
    return [value * (2 if at else 1) / (width * height) for at, value in enumerate(found)]


def _sum(values: Sequence[float], cosines: Sequence[float] | None) -> float:
    return sum(values) if cosines is None else sum(map(mul, values, cosines))


@lru_cache(maxsize=64)
def _cosines(length: int, count: int) -> list[list[float] | None]:
    """Returns the cosines of each frequency along a side; None for those of frequency 0, which are all 1."""
    angle = math.pi / length
    return [None, *([math.cos(angle * number * at) for at in range(length)] for number in range(1, count))]


def _average_code(colour: _Colour) -> int:
    red, green, blue = (_srgb(value) for value in colour)
    return red << 16 | green << 8 | blue


def _srgb(value: float) -> int:
    bounded = max(0.0, min(1.0, value))
    if bounded <= 0.0031308:
        return int(bounded * 12.92 * 255 + 0.5)
    return int((1.055 * math.pow(bounded, 1 / 2.4) - 0.055) * 255 + 0.5)


def _code(colour: _Colour, largest: float) -> int:
    red, green, blue = (_quantized(value / largest) for value in colour)
    return red * 19 * 19 + green * 19 + blue


def _quantized(value: float) -> int:
    return max(0, min(18, math.floor(math.copysign(math.sqrt(abs(value)), value) * 9 + 9.5)))


def _base83(value: int, length: int) -> str:
    return "".join(_ALPHABET[value // 83**power % 83] for power in range(length - 1, -1, -1))
