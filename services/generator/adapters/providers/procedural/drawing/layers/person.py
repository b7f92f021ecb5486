"""A portrait without features, as a poster has it: shoulders, neck, head, hair."""

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient
from services.generator.adapters.providers.procedural.drawing.paint.colour import lift, luma, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, placed, spline
from services.generator.adapters.providers.procedural.drawing.paint.noise import cloud, smooth
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene

_SKINS = ("f0c9a4", "dca57d", "b97b52", "8a5638", "5e3a28")
_HAIRS = ("1d1715", "3a231a", "6b3b22", "b5702f", "d8b26a", "c9c4bd")
_SHORT = frozenset({"man", "boy", "king", "he", "short"})

_FACE = ((0, -0.46), (0.17, -0.42), (0.25, -0.22), (0.235, -0.02), (0.16, 0.16), (0.05, 0.25), (0, 0.26),
         (-0.05, 0.25), (-0.16, 0.16), (-0.235, -0.02), (-0.25, -0.22), (-0.17, -0.42))  # fmt: skip
_COAT = ((-0.13, 0.4), (-0.4, 0.5), (-0.66, 0.66), (-0.78, 1.0), (-0.84, 1.6), (-0.86, 4.0), (0.86, 4.0),
         (0.84, 1.6), (0.78, 1.0), (0.66, 0.66), (0.4, 0.5), (0.13, 0.4))  # fmt: skip
_LONG_HAIR = ((0, -0.56), (0.22, -0.52), (0.35, -0.3), (0.37, 0.05), (0.42, 0.4), (0.36, 0.62), (0.2, 0.56), (0, 0.4),
              (-0.2, 0.56), (-0.36, 0.62), (-0.42, 0.4), (-0.37, 0.05), (-0.35, -0.3), (-0.22, -0.52))  # fmt: skip
_SHORT_HAIR = ((0, -0.57), (0.2, -0.54), (0.3, -0.38), (0.29, -0.12), (0.25, -0.05), (0, -0.2), (-0.25, -0.05),
               (-0.29, -0.12), (-0.3, -0.38), (-0.2, -0.54))  # fmt: skip
_FRINGE = ((-0.262, -0.04), (-0.24, -0.25), (-0.1, -0.33), (0.06, -0.3), (0.2, -0.2), (0.262, -0.02), (0.3, -0.2),
           (0.25, -0.45), (0.0, -0.55), (-0.25, -0.45), (-0.3, -0.2))  # fmt: skip


def portrait(canvas: Canvas, scene: Scene) -> None:
    """Head and shoulders before a halo of light."""
    dice, palette = scene.dice("portrait"), scene.palette
    wash = cloud(dice, canvas.width, canvas.height, canvas.unit * 0.35, octaves=4)
    canvas.blend(palette.haze, smooth(-0.3, 0.9, wash) * 0.4)
    size = min(canvas.unit * 0.62, canvas.height * 0.6)
    x, y = canvas.width * (0.5 + dice.between(-0.05, 0.05)), canvas.height * 0.46
    side = 1 if scene.light_x > 0.5 else -1
    _halo(canvas, scene, x, y, size)
    skin = rgb(dice.pick(_SKINS))
    hairs = [code for code in _HAIRS if luma(rgb(code)) < luma(skin) + 0.05]
    skin = mix(skin, palette.zenith, 0.28 if palette.dark else 0.08)
    hair = mix(rgb(dice.pick(hairs)), palette.ink, 0.25)
    short = bool(scene.reading.words & _SHORT)
    coat = scene.tint("person", mix(palette.accent, palette.ink, 0.12))

    def at(outline: tuple[tuple[float, float], ...], dx: float = 0.0) -> list[Point]:
        return placed(spline(outline), x + dx, y, size)

    canvas.paint(Stencil(at(_SHORT_HAIR if short else _LONG_HAIR)), hair)
    canvas.paint(
        Stencil(at(_COAT)), Gradient(top=coat, bottom=mix(coat, palette.ink, 0.45), start=y, end=y + size * 1.3)
    )
    fold = Stencil(
        placed(
            ((0.05 * side, 0.5), (-0.35 * side, 0.8), (-0.5 * side, 1.6), (-0.95 * side, 1.6), (-0.75 * side, 0.7)),
            x,
            y,
            size,
        )
    )
    canvas.paint(fold, mix(coat, palette.ink, 0.55), 0.35, soften=size * 0.02)
    neck = [(-0.12, 0.1), (-0.13, 0.4), (-0.17, 0.47), (0.0, 0.6), (0.17, 0.47), (0.13, 0.4), (0.12, 0.1)]
    canvas.paint(Stencil(placed(neck, x, y, size)), mix(skin, palette.ink, 0.28))
    canvas.paint(Stencil(at(_FACE)), skin)
    # The half that the light does not reach, with the line of a nose.
    line = [(0.0, -0.46), (-0.01, -0.12), (0.055, 0.02), (0.0, 0.06), (0.02, 0.26)]
    half = [
        (u * side, v) for u, v in (*line, (-0.05, 0.25), (-0.16, 0.16), (-0.235, -0.02), (-0.25, -0.22), (-0.17, -0.42))
    ]
    canvas.paint(Stencil(placed(half, x, y, size)), mix(skin, palette.ink, 0.34), 0.75)
    canvas.paint(Stencil(at(_FRINGE)), lift(hair, 0.03))


def _halo(canvas: Canvas, scene: Scene, x: float, y: float, size: float) -> None:
    light = scene.tint("sun", mix(scene.palette.light, scene.palette.accent, 0.12))
    top, radius = y - size * 0.12, size * 0.66
    canvas.glow(x, top, radius * 2.2, light, 0.5)
    canvas.paint(
        Stencil().disc(x, top, radius),
        Gradient(top=light, bottom=mix(light, scene.palette.horizon, 0.6), start=top - radius, end=top + radius),
    )
