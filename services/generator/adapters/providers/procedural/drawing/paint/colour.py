"""Colours as three floats in 0..1 (sRGB), mixed and steered in OKLab so that blends stay clean.

Every result is rounded to five places: a last-bit difference between two C libraries never reaches a pixel.
"""

Color = tuple[float, float, float]
WHITE: Color = (1.0, 1.0, 1.0)
BLACK: Color = (0.0, 0.0, 0.0)


def rgb(code: str) -> Color:
    """The colour written as six hexadecimal digits."""
    return _rounded(*(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)))


def luma(color: Color) -> float:
    """Perceived brightness, 0..1."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def mix(a: Color, b: Color, share: float) -> Color:
    """`a` with `share` of `b` in it; 0 is `a`, 1 is `b`."""
    left, right = _to_lab(a), _to_lab(b)
    return _from_lab(*(p + (q - p) * share for p, q in zip(left, right, strict=True)))


def lift(color: Color, amount: float) -> Color:
    """The colour lightened (or, below 0, darkened) by `amount` of OKLab lightness."""
    lightness, a, b = _to_lab(color)
    return _from_lab(min(1.0, max(0.0, lightness + amount)), a, b)


def enrich(color: Color, factor: float) -> Color:
    """The colour with its chroma multiplied by `factor`; 0 is grey."""
    lightness, a, b = _to_lab(color)
    return _from_lab(lightness, a * factor, b * factor)


def steer(color: Color, target: Color, strength: float) -> Color:
    """The colour moved to the hue of `target`, its lightness mostly its own."""
    lightness, a, b = _to_lab(color)
    goal, goal_a, goal_b = _to_lab(target)
    # A near-black or near-white target has no hue to give: it gives its lightness instead.
    pull = strength * (0.7 if goal < 0.3 or goal > 0.93 else 0.25)
    return _from_lab(lightness + (goal - lightness) * pull, a + (goal_a - a) * strength, b + (goal_b - b) * strength)


def turn(color: Color, cosine: float, sine: float) -> Color:
    """The colour with its hue turned by the angle of that cosine and sine."""
    lightness, a, b = _to_lab(color)
    return _from_lab(lightness, a * cosine - b * sine, a * sine + b * cosine)


def _rounded(*channels: float) -> Color:
    red, green, blue = (round(min(1.0, max(0.0, c)), 5) for c in channels)
    return red, green, blue


def _linear(c: float) -> float:
    return float(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)


def _gamma(c: float) -> float:
    return float(12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055)


def _to_lab(color: Color) -> Color:
    r, g, b = (_linear(c) for c in color)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _from_lab(lightness: float, a: float, b: float) -> Color:
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return _rounded(*(_gamma(max(0.0, c)) for c in linear))
