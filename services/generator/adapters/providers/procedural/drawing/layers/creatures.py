"""Living silhouettes against the light: a cat, a fox, a bird in flight."""

from collections.abc import Sequence

from services.generator.adapters.providers.procedural.drawing.layers.sky import birds
from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.paint.colour import BLACK, Color, lift, luma, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, direction, placed, ring, spline
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene

# Sitting, seen from behind; the feet are at 0, the ears end at -1.
_BODY = (
    (-0.2, 0.02), (-0.33, -0.07), (-0.335, -0.2), (-0.27, -0.37), (-0.19, -0.52), (-0.14, -0.66), (-0.08, -0.76),
    (0.08, -0.76), (0.14, -0.66), (0.19, -0.52), (0.27, -0.37), (0.335, -0.2), (0.33, -0.07), (0.2, 0.02),
)  # fmt: skip
_CAT_HEAD = (
    (-0.09, -0.68), (-0.165, -0.75), (-0.18, -0.83), (-0.165, -0.9), (-0.085, -0.935), (0.0, -0.94),
    (0.085, -0.935), (0.165, -0.9), (0.18, -0.83), (0.165, -0.75), (0.09, -0.68),
)  # fmt: skip
_FOX_HEAD = (
    (-0.07, -0.66), (-0.13, -0.72), (-0.2, -0.77), (-0.16, -0.87), (-0.08, -0.92), (0.0, -0.925),
    (0.08, -0.92), (0.16, -0.87), (0.2, -0.77), (0.13, -0.72), (0.07, -0.66),
)  # fmt: skip
_CAT_EAR = ((-0.176, -0.84), (-0.168, -1.045), (-0.03, -0.93))
_FOX_EAR = ((-0.165, -0.84), (-0.155, -1.13), (-0.02, -0.91))
_CAT_TAIL = ((0.1, -0.03), (0.34, 0.015), (0.52, -0.02), (0.6, -0.13), (0.55, -0.26), (0.46, -0.27))
_FOX_TAIL = ((0.14, -0.04), (0.36, 0.0), (0.52, -0.06), (0.6, -0.2), (0.63, -0.36))

_DOG_EAR = ((-0.13, -0.9), (-0.2, -0.88), (-0.245, -0.76), (-0.22, -0.66), (-0.17, -0.7), (-0.13, -0.8))
_DOG_TAIL = ((0.12, -0.04), (0.3, -0.02), (0.42, -0.1), (0.47, -0.24))

_WINGS = (
    (-1.0, -0.3), (-0.6, -0.37), (-0.22, -0.15), (-0.07, -0.1), (-0.055, -0.2), (0.0, -0.27), (0.055, -0.2),
    (0.07, -0.1), (0.22, -0.15), (0.6, -0.37), (1.0, -0.3), (0.62, -0.2), (0.24, 0.04), (0.08, 0.12), (0.12, 0.3),
    (0.0, 0.25), (-0.12, 0.3), (-0.08, 0.12), (-0.24, 0.04), (-0.62, -0.2),
)  # fmt: skip


def cat(canvas: Canvas, scene: Scene) -> None:
    """A cat that sits and looks into the image."""
    fur = scene.tint("cat", scene.palette.ink)
    ears = [_CAT_EAR, [(-x, y) for x, y in _CAT_EAR]]
    outlines = [spline(_BODY, closed=True), spline(_CAT_HEAD), *ears]
    _sitting(canvas, scene, outlines, (_CAT_TAIL, 0.045, 0.035), fur)


def fox(canvas: Canvas, scene: Scene) -> None:
    """A fox that sits and looks into the image, its brush beside it."""
    fur = scene.tint("fox", mix(rgb("c8581f"), scene.palette.ink, 0.35 if scene.palette.dark else 0.05))
    ears = [_FOX_EAR, [(-x, y) for x, y in _FOX_EAR]]
    outlines = [spline([(x * 0.86, y) for x, y in _BODY], closed=True), spline(_FOX_HEAD), *ears]
    _sitting(canvas, scene, outlines, (_FOX_TAIL, 0.03, 0.1), fur)
    x, y, size, mirrored = _seat(canvas, scene)
    tip = spline([(0.575, -0.25), (0.63, -0.46), (0.685, -0.25), (0.63, -0.29)])
    canvas.paint(Stencil(placed(tip, x, y, size, mirrored=mirrored)), mix(scene.palette.paper, scene.palette.haze, 0.3))


def dog(canvas: Canvas, scene: Scene) -> None:
    """A dog that sits and looks into the image."""
    fur = scene.tint("dog", mix(rgb("8a5a34"), scene.palette.ink, 0.5 if scene.palette.dark else 0.3))
    ears = [spline(_DOG_EAR), spline([(-x, y) for x, y in _DOG_EAR])]
    outlines = [spline(_BODY, closed=True), spline(_CAT_HEAD), *ears]
    _sitting(canvas, scene, outlines, (_DOG_TAIL, 0.03, 0.04), fur)


def _sitting(
    canvas: Canvas,
    scene: Scene,
    outlines: Sequence[Sequence[Point]],
    tail: tuple[Sequence[Point], float, float],
    fur: Color,
) -> None:
    x, y, size, mirrored = _seat(canvas, scene)
    if luma(fur) < 0.12:
        fur = mix(fur, scene.palette.ink, 0.4)
    shift = size * 0.016 * (1 if scene.light_x * canvas.width > x else -1)
    rim = mix(scene.palette.light, lift(fur, 0.2), 0.25)
    for dx, dy, tone in ((shift, -size * 0.012, rim), (0.0, 0.0, fur)):
        shape = Stencil(*(placed(outline, x + dx, y + dy, size, mirrored=mirrored) for outline in outlines))
        knots, thin, thick = tail
        curve = spline(knots, closed=False)
        for i, (u, v) in enumerate(placed(curve, x + dx, y + dy, size, mirrored=mirrored)):
            t = i / len(curve)
            swell = thin + (thick - thin) * (1 - abs(2 * t - 1.1) ** 2)
            shape.disc(u, v, size * max(0.012, swell))
        canvas.paint(shape, tone)
    canvas.paint(Stencil(ring(x, y + size * 0.02, size * 0.42, size * 0.03)), BLACK, 0.25, soften=size * 0.02)


def _seat(canvas: Canvas, scene: Scene) -> tuple[float, float, float, bool]:
    """Where an animal sits: its place, its size, and whether it is mirrored to face the light."""
    side = scene.side
    x, size = canvas.width * (0.5 + side * 0.13), canvas.unit * 0.36
    edge = scene.near_edge(canvas)
    return x, min(canvas.height * 0.93, float(edge[int(x)]) + size * 0.05), size, side < 0


def bird(canvas: Canvas, scene: Scene) -> None:
    """One bird on the wing, its flock far behind."""
    birds(canvas, scene)
    dice, side = scene.dice("bird"), scene.side
    feathers = scene.tint("bird", mix(scene.palette.ink, scene.palette.zenith, 0.1))
    if luma(feathers) > 0.8 and not scene.palette.dark:
        feathers = mix(feathers, scene.palette.paper, 0.5)
    far = [(0.5 + side * 0.16, 0.3, 0.24), (0.5 - side * 0.2, 0.5, 0.1), (0.5 + side * 0.3, 0.13, 0.075)]
    for u, v, span in far:
        cosine, sine = direction(dice.between(-0.06, 0.06))
        size = canvas.unit * span
        outline = [(p * cosine - q * sine, p * sine + q * cosine) for p, q in spline(_WINGS)]
        shape = placed(outline, canvas.width * u, canvas.height * v, size)
        canvas.paint(
            Stencil(placed(outline, canvas.width * u, canvas.height * v - size * 0.014, size)), lift(feathers, 0.12)
        )
        canvas.paint(Stencil(shape), feathers)
