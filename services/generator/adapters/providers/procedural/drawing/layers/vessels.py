"""What sails: boats on water, balloons in the air."""

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, lift, mix
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, placed, ring, spline
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def boat(canvas: Canvas, scene: Scene) -> None:
    """A sloop under sail, with its reflection on the water."""
    palette = scene.palette
    x = canvas.width * (0.5 + 0.12 * scene.beside("lighthouse"))
    size = canvas.unit * 0.21
    y = canvas.height * scene.horizon + (canvas.height * (1 - scene.horizon)) * 0.3
    sail = scene.tint("boat", mix(palette.paper, palette.light, 0.3))
    if palette.dark:
        sail = mix(sail, palette.sky, 0.3)
    hull = mix(palette.accent, palette.ink, 0.5)
    shadow = Stencil()
    for i in range(9):
        t = i / 8
        half = size * (0.5 - 0.4 * t) * (1 if i % 2 else 0.7)
        shadow.shape(ring(x + size * 0.03 * (i % 3 - 1), y + size * (0.05 + 0.62 * t), half, size * 0.028, points=16))
    canvas.paint(shadow, mix(mix(sail, palette.ink, 0.5), palette.zenith, 0.4), 0.42)
    mast = x - size * 0.04
    main = spline(
        [
            (mast, y - size * 1.45),
            (mast + size * 0.30, y - size * 0.75),
            (mast + size * 0.5, y - size * 0.2),
            (mast, y - size * 0.2),
        ],
        closed=False,
    )
    luff = ((-0.03, -1.3), (-0.3, -0.62), (-0.52, -0.17), (-0.05, -0.24))
    jib = spline(placed(luff, mast, y, size), closed=False)
    lit = Gradient(top=lift(sail, 0.03), bottom=mix(sail, palette.haze, 0.35), start=y - size * 1.4, end=y)
    canvas.paint(Stencil(main), lit)
    canvas.paint(
        Stencil(jib), mix(sail, palette.haze, 0.45) if palette.accent == sail else mix(sail, palette.accent, 0.25)
    )
    canvas.paint(Stencil().stroke([(mast, y - size * 1.5), (mast, y)], size * 0.022), palette.ink)
    body = spline(
        [(x - size * 0.58, y - size * 0.14), (x, y - size * 0.1), (x + size * 0.55, y - size * 0.16)], closed=False
    )
    under = spline(
        [(x + size * 0.42, y + size * 0.05), (x, y + size * 0.085), (x - size * 0.4, y + size * 0.05)], closed=False
    )
    canvas.paint(Stencil([*body, *under]), hull)
    canvas.paint(Stencil().stroke(body, size * 0.025), mix(sail, hull, 0.25))


def balloons(canvas: Canvas, scene: Scene) -> None:
    """Hot-air balloons: one at hand, others far."""
    dice, palette = scene.dice("balloons"), scene.palette
    side = scene.side
    positions = [
        (0.5 + side * 0.18, 0.27, 0.15, 0.0),
        (0.5 - side * 0.27, 0.4, 0.06, 0.4),
        (0.5 - side * 0.08, 0.17, 0.038, 0.55),
    ]
    first = scene.tint("balloon", palette.accent)
    for u, v, size, depth in positions:
        x, y = canvas.width * (u + dice.between(-0.03, 0.03)), canvas.height * (v + dice.between(-0.02, 0.02))
        _balloon(canvas, scene, (x, y), canvas.unit * size, (scene.far(first, depth), scene.far(palette.paper, depth)))


def _balloon(canvas: Canvas, scene: Scene, position: Point, radius: float, cloth: tuple[Color, Color]) -> None:
    x, y = position

    def gore(half: float) -> list[Point]:
        right = [(half, -0.1), (half * 0.93, 0.35), (half * 0.6, 0.85), (0.14 * half, 1.25)]
        left = [(-u, v) for u, v in reversed(right)]
        knots = [(0.0, -1.0), (half * 0.62, -0.8), *right, *left, (-half * 0.62, -0.8)]
        return spline([(x + u * radius, y + v * radius) for u, v in knots])

    for half, tone in ((1.0, cloth[0]), (0.74, cloth[1]), (0.44, cloth[0]), (0.15, cloth[1])):
        canvas.paint(Stencil(gore(half)), tone)
    side = 1 if scene.light_x * canvas.width < x else -1
    dark = Stencil(gore(1.0)).hole([(u - side * radius * 0.42, v) for u, v in gore(1.05)])
    canvas.paint(dark, scene.palette.ink, 0.28)
    basket = Stencil().bar(x - radius * 0.13, y + radius * 1.62, x + radius * 0.13, y + radius * 1.84)
    for u in (-0.12, 0.12):
        basket.stroke([(x + u * radius, y + radius * 1.22), (x + u * radius, y + radius * 1.64)], radius * 0.02)
    canvas.paint(basket, mix(scene.palette.ink, scene.palette.land, 0.3))
