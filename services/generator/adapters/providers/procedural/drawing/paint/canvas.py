"""The surface that layers paint on: three float planes, shades to paint with, masks to paint through."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.generator.adapters.providers.procedural.drawing.paint.colour import Color
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point
from services.generator.adapters.providers.procedural.drawing.paint.dice import Field
from services.generator.adapters.providers.procedural.drawing.paint.noise import Line
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Box, Stencil


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """A vertical gradient."""

    top: Color
    """Colour above `start`."""
    bottom: Color
    """Colour below `end`."""
    start: float
    """Row where the change begins, in pixels."""
    end: float
    """Row where the change ends, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Radial:
    """A radial gradient."""

    centre: Point
    """The centre, in pixels."""
    inner: Color
    """Colour at the centre."""
    outer: Color
    """Colour at the radius and beyond."""
    radius: float
    """Distance from the centre, in pixels."""


Shade = Color | Gradient | Radial


class Canvas:
    """The image while it is painted; colours are 0..1, coordinates are pixels from the top left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.unit = float(min(width, height))
        """The shorter side in pixels; sizes are multiples of it, so that proportions hold at any resolution."""
        self.planes: Field = np.zeros((3, height, width), dtype=np.float32)
        self.rows: Field = (np.arange(height, dtype=np.float32) + np.float32(0.5))[:, None]
        self.columns: Field = (np.arange(width, dtype=np.float32) + np.float32(0.5))[None, :]

    @property
    def whole(self) -> Box:
        """The box that covers everything."""
        return 0, 0, self.width, self.height

    def blend(self, shade: Shade, mask: Field | float, box: Box | None = None) -> None:
        """Paints the shade over the box, with the mask (0..1) as opacity."""
        left, top, right, bottom = box or self.whole
        for plane, tone in zip(self.planes, self._tones(shade, (left, top, right, bottom)), strict=True):
            area = plane[top:bottom, left:right]
            area += (tone - area) * np.float32(mask) if isinstance(mask, float) else (tone - area) * mask

    def paint(self, stencil: Stencil, shade: Shade, opacity: float = 1.0, *, soften: float = 0.0) -> None:
        """Paints the shade through the stencil; `soften` blurs its edge by that many pixels."""
        cut = stencil.cut(self.width, self.height, soften)
        if cut is not None:
            box, mask = cut
            self.blend(shade, mask if opacity == 1.0 else mask * np.float32(opacity), box)

    def fill_under(self, edge: Line, shade: Shade, opacity: float = 1.0) -> None:
        """Paints everything below the edge, which has one row for each column, with antialiasing."""
        top = int(min(self.height, max(0, edge.min() - 1)))
        if top < self.height:
            mask = np.clip(self.rows[top:] - edge.astype(np.float32)[None, :] + np.float32(0.5), 0, 1)
            self.blend(shade, mask * np.float32(opacity), (0, top, self.width, self.height))

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Adds light around a point, as a lamp does in haze."""
        box = self._around(x, y, radius)
        if box is None:
            return
        left, top, right, bottom = box
        spread = (self.rows[top:bottom] - np.float32(y)) ** 2 + (self.columns[:, left:right] - np.float32(x)) ** 2
        fall = np.clip(1 - np.sqrt(spread) / np.float32(radius), 0, 1)
        light = fall * fall * fall * np.float32(strength)
        for plane, tone in zip(self.planes, color, strict=True):
            area = plane[top:bottom, left:right]
            area += (1 - area) * light * np.float32(tone)

    def tint(self, color: Color, strength: float) -> None:
        """Multiplies the whole image by a colour."""
        for plane, tone in zip(self.planes, color, strict=True):
            plane *= np.float32(1 - strength + strength * tone)

    def replace(self, image: Image.Image) -> None:
        """Takes over an RGB image of the canvas's size."""
        for plane, band in zip(self.planes, image.split(), strict=True):
            plane[:] = np.asarray(band, dtype=np.float32) / np.float32(255)

    def image(self) -> Image.Image:
        """The image in eight bits a channel."""
        bands = [Image.fromarray(_eight_bits(plane)) for plane in self.planes]
        return Image.merge("RGB", bands)

    def luminance(self) -> Field:
        """Brightness of every pixel, 0..1."""
        red, green, blue = self.planes
        tone: Field = red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)
        return tone

    def _around(self, x: float, y: float, radius: float) -> Box | None:
        left, right = int(max(0, x - radius)), int(min(self.width, x + radius + 1))
        top, bottom = int(max(0, y - radius)), int(min(self.height, y + radius + 1))
        return (left, top, right, bottom) if left < right and top < bottom else None

    def _tones(self, shade: Shade, box: Box) -> list[Field]:
        if isinstance(shade, tuple):
            return [np.full((1, 1), tone, dtype=np.float32) for tone in shade]
        left, top, right, bottom = box
        if isinstance(shade, Gradient):
            first, last = shade.top, shade.bottom
            span = shade.end - shade.start or 1.0
            way = np.clip((self.rows[top:bottom] - np.float32(shade.start)) / np.float32(span), 0, 1)
        else:
            first, last = shade.inner, shade.outer
            x, y = np.float32(shade.centre[0]), np.float32(shade.centre[1])
            apart = np.sqrt((self.rows[top:bottom] - y) ** 2 + (self.columns[:, left:right] - x) ** 2)
            way = np.clip(apart / np.float32(max(1.0, shade.radius)), 0, 1)
        return [way * np.float32(b - a) + np.float32(a) for a, b in zip(first, last, strict=True)]


def _eight_bits(plane: Field) -> NDArray[np.uint8]:
    # Rounded from whole 1/8192ths: a last-bit difference between machines rarely reaches a level.
    coarse = np.round(np.clip(plane, 0, 1) * np.float32(8192)) / np.float32(8192)
    return np.asarray(np.floor(coarse * np.float32(255) + np.float32(0.5)), dtype=np.uint8)
