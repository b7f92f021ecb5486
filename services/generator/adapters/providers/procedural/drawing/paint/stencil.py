"""Shapes collected and cut into one antialiased mask, by drawing them larger and averaging down."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, ring
from services.generator.adapters.providers.procedural.drawing.paint.dice import Field

Box = tuple[int, int, int, int]

_SMALL, _MEDIUM = 300_000, 1_200_000


class Stencil:
    """A set of shapes that are painted as one."""

    def __init__(self, *outlines: Sequence[Point]) -> None:
        self._shapes: list[tuple[Sequence[Point], float, int]] = []
        for outline in outlines:
            self.shape(outline)

    def shape(self, outline: Sequence[Point]) -> "Stencil":
        """Adds a filled outline."""
        self._shapes.append((outline, 0.0, 255))
        return self

    def hole(self, outline: Sequence[Point]) -> "Stencil":
        """Cuts an outline out of what was added before."""
        self._shapes.append((outline, 0.0, 0))
        return self

    def disc(self, x: float, y: float, radius: float) -> "Stencil":
        """Adds a circle."""
        return self.shape(ring(x, y, radius, radius, points=int(min(160, max(10, radius * 2)))))

    def bar(self, left: float, top: float, right: float, bottom: float) -> "Stencil":
        """Adds an upright rectangle."""
        return self.shape([(left, top), (right, top), (right, bottom), (left, bottom)])

    def stroke(self, points: Sequence[Point], width: float) -> "Stencil":
        """Adds a line through the points, `width` pixels wide."""
        self._shapes.append((points, max(0.34, width), 255))
        return self

    def cut(self, width: int, height: int, soften: float = 0.0) -> tuple[Box, Field] | None:
        """The mask and the box it belongs to, or nothing when no shape touches the image."""
        box = self._box(width, height, 3 * soften + 1)
        if box is None:
            return None
        left, top, right, bottom = box
        area = (right - left) * (bottom - top)
        scale = 4 if area < _SMALL else 3 if area < _MEDIUM else 2
        large = Image.new("L", ((right - left) * scale, (bottom - top) * scale), 0)
        self._draw(ImageDraw.Draw(large), left, top, scale)
        mask = large.reduce(scale)
        if soften > 0:
            mask = mask.filter(ImageFilter.GaussianBlur(soften))
        return box, np.asarray(mask, dtype=np.float32) / np.float32(255)

    def _draw(self, pen: ImageDraw.ImageDraw, left: int, top: int, scale: int) -> None:
        for outline, width, value in self._shapes:
            points = [((x - left) * scale, (y - top) * scale) for x, y in outline]
            if width:
                pen.line(points, fill=value, width=max(1, round(width * scale)), joint="curve")
            else:
                pen.polygon(points, fill=value)

    def _box(self, width: int, height: int, margin: float) -> Box | None:
        filled = [(outline, wide + margin) for outline, wide, value in self._shapes if value]
        if not filled:
            return None
        left = min(_minimum(outline, 0) - m for outline, m in filled)
        top = min(_minimum(outline, 1) - m for outline, m in filled)
        right = max(_maximum(outline, 0) + m for outline, m in filled)
        bottom = max(_maximum(outline, 1) + m for outline, m in filled)
        box = int(max(0, left)), int(max(0, top)), int(min(width, right + 1)), int(min(height, bottom + 1))
        return box if box[0] < box[2] and box[1] < box[3] else None


def _minimum(outline: Iterable[Point], axis: int) -> float:
    return min(point[axis] for point in outline)


def _maximum(outline: Iterable[Point], axis: int) -> float:
    return max(point[axis] for point in outline)
