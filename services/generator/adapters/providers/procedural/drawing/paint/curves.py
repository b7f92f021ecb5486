"""Outlines: rings, splines and jagged lines, as lists of points in pixels."""

import math
from collections.abc import Sequence
from itertools import pairwise

from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice

Point = tuple[float, float]


def direction(turns: float) -> Point:
    """Returns the unit vector at an angle in full turns, clockwise on the screen from the right."""
    return round(math.cos(turns * math.tau), 7), round(math.sin(turns * math.tau), 7)


def ring(x: float, y: float, wide: float, high: float, *, turned: float = 0.0, points: int = 48) -> list[Point]:
    """Returns an ellipse with these half axes, rotated by `turned` full turns."""
    cosine, sine = direction(turned)
    outline = []
    for i in range(points):
        u, v = direction(i / points)
        outline.append((x + u * wide * cosine - v * high * sine, y + u * wide * sine + v * high * cosine))
    return outline


def spline(knots: Sequence[Point], *, closed: bool = True, steps: int = 8) -> list[Point]:
    """A Catmull-Rom curve through the knots."""
    count = len(knots)
    spans = count if closed else count - 1
    curve: list[Point] = []
    for i in range(spans):
        near = [knots[(i + k) % count] if closed else knots[min(count - 1, max(0, i + k))] for k in (-1, 0, 1, 2)]
        curve.extend(_between(near, s / steps) for s in range(steps))
    return curve if closed else [*curve, knots[-1]]


def placed(outline: Sequence[Point], x: float, y: float, scale: float, *, mirrored: bool = False) -> list[Point]:
    """An outline drawn around (0, 0) in units of `scale`, put at (x, y)."""
    side = -scale if mirrored else scale
    return [(x + u * side, y + v * scale) for u, v in outline]


def petal(x: float, y: float, length: float, width: float, turned: float, *, blunt: float = 0.62) -> list[Point]:
    """A leaf or petal that grows from (x, y); `blunt` is where along its length it is widest."""
    cosine, sine = direction(turned)
    shape = [
        (0, 0),
        (blunt * 0.5, 0.36),
        (blunt, 0.5),
        (0.93, 0.28),
        (1, 0),
        (0.93, -0.28),
        (blunt, -0.5),
        (blunt * 0.5, -0.36),
    ]
    knots = [(u * length, v * width) for u, v in shape]
    return spline([(x + u * cosine - v * sine, y + u * sine + v * cosine) for u, v in knots])


def jagged(start: Point, end: Point, dice: Dice, *, roughness: float = 0.16, halvings: int = 5) -> list[Point]:
    """A line broken by midpoint displacement, as rock breaks."""
    points = [start, end]
    for _ in range(halvings):
        broken = [points[0]]
        for a, b in pairwise(points):
            reach = abs(b[0] - a[0]) + abs(b[1] - a[1])
            shift = dice.between(-roughness, roughness) * reach
            broken += [((a[0] + b[0]) / 2 + shift * 0.35, (a[1] + b[1]) / 2 + shift), b]
        points = broken
    return points


def _between(knots: Sequence[Point], t: float) -> Point:
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = knots
    return _catmull(ax, bx, cx, dx, t), _catmull(ay, by, cy, dy, t)


def _catmull(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t * t * t)
