"""A castle on its hill: walls, round towers with cone roofs, banners."""

from services.generator.adapters.providers.procedural.drawing.layers import land
from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import ring
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene

# Towers as (place, width, height, has a roof), in units of the castle's size; those behind come first.
_TOWERS = (
    (0.02, 0.2, 1.08, True), (-0.22, 0.15, 0.86, True), (0.25, 0.14, 0.78, True), (-0.42, 0.19, 0.58, False),
    (0.44, 0.2, 0.62, True), (-0.1, 0.13, 0.66, True),
)  # fmt: skip


def castle(canvas: Canvas, scene: Scene) -> None:
    """Stands on a hill of its own before whatever lies behind it."""
    palette = scene.palette
    x = canvas.width * (0.5 + 0.1 * scene.side)
    size, foot = canvas.unit * 0.4, canvas.height * (scene.horizon + 0.08)
    wall = scene.tint("castle", mix(palette.haze, palette.paper, 0.35))
    if palette.dark:
        wall = mix(wall, palette.ink, 0.45)
    for position, wide, tall, roofed in _TOWERS:
        depth = 0.35 if tall > 0.7 else 0.0
        _tower(
            canvas,
            scene,
            (x + position * size, foot),
            (wide * size, tall * size),
            scene.far(wall, depth),
            roofed=roofed,
        )
    _wall(canvas, x, foot, size, wall, scene)
    land.mound(canvas, scene, x, foot - size * 0.02, size * 1.1)


def _tower(
    canvas: Canvas, scene: Scene, at: tuple[float, float], span: tuple[float, float], wall: Color, *, roofed: bool
) -> None:
    (x, foot), (wide, tall), ink = at, span, scene.palette.ink
    top, half = foot - tall, wide / 2
    body = Stencil().bar(x - half, top, x + half, foot + wide)
    body.bar(x - half * 1.2, top - wide * 0.16, x + half * 1.2, top + wide * 0.16)
    if not roofed:
        for i in range(3):
            body.bar(x + half * (-1.2 + 0.93 * i), top - wide * 0.4, x + half * (-0.7 + 0.93 * i), top)
    canvas.paint(body, wall)
    side = -1 if scene.light_x * canvas.width > x else 1
    edge = sorted((x + side * half * 0.25, x + side * half * 1.0))
    canvas.paint(Stencil().bar(edge[0], top - wide * 0.1, edge[1], foot + wide), ink, 0.3)
    roof = mix(mix(scene.palette.accent, rgb("7a3b4a"), 0.4), ink, 0.3)
    if roofed:
        tip = top - wide * 1.5
        canvas.paint(
            Stencil([(x - half * 1.4, top - wide * 0.14), (x, tip), (x + half * 1.4, top - wide * 0.14)]), roof
        )
        flag = Stencil([(x, tip - wide * 0.5), (x + wide * 0.5, tip - wide * 0.36), (x, tip - wide * 0.22)])
        canvas.paint(
            flag.stroke([(x, tip + 1), (x, tip - wide * 0.5)], wide * 0.05), mix(roof, scene.palette.accent, 0.6)
        )
    slit = Stencil()
    for level in (0.25, 0.55):
        slit.bar(x - wide * 0.07, top + tall * level, x + wide * 0.07, top + tall * level + wide * 0.28)
    canvas.paint(slit, rgb("ffd27a") if scene.palette.dark else ink, 0.85)


def _wall(canvas: Canvas, x: float, foot: float, size: float, wall: Color, scene: Scene) -> None:
    left, right, top = x - size * 0.48, x + size * 0.48, foot - size * 0.3
    front = Stencil().bar(left, top, right, foot + size * 0.1)
    for i in range(13):
        front.bar(left + (right - left) * i / 13, top - size * 0.045, left + (right - left) * (i + 0.55) / 13, top + 1)
    canvas.paint(front, mix(wall, scene.palette.ink, 0.12))
    gate = Stencil(ring(x, foot - size * 0.12, size * 0.085, size * 0.1)).bar(
        x - size * 0.085, foot - size * 0.12, x + size * 0.085, foot
    )
    canvas.paint(gate, mix(scene.palette.ink, wall, 0.1))
