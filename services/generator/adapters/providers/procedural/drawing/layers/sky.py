"""Everything above the horizon: the gradient, sun and moon, stars, aurora, clouds."""

import numpy as np

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient, Radial
from services.generator.adapters.providers.procedural.drawing.paint.colour import WHITE, enrich, lift, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import ring
from services.generator.adapters.providers.procedural.drawing.paint.noise import above, cloud, profile, smooth
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def air(canvas: Canvas, scene: Scene) -> None:
    """The gradient from zenith to horizon, uneven as a hand-inked roller leaves it."""
    palette, level = scene.palette, scene.horizon * canvas.height
    canvas.blend(Gradient(top=palette.zenith, bottom=palette.sky, start=-0.1 * level, end=level * 0.62), 1.0)
    lower = smooth(0.35, 1.0, canvas.rows / np.float32(level))
    canvas.blend(palette.horizon, lower)
    drift = cloud(scene.dice("air"), canvas.width, canvas.height, canvas.unit * 0.4, octaves=2, stretch=2.5)
    canvas.blend(palette.light, smooth(0.1, 1.4, drift) * np.float32(0.16))


def disc(canvas: Canvas, scene: Scene) -> None:
    """The sun or the moon, with its glow in the air."""
    kind = scene.disc()
    if kind is None:
        return
    x, y = scene.light_x * canvas.width, scene.light_y * canvas.height
    requested = scene.shows(kind)
    radius = canvas.unit * scene.dice("disc").between(0.085, 0.115) * (1.25 if requested else 1.0)
    body = scene.tint(kind, scene.palette.light)
    canvas.glow(x, y, radius * 7, body, 0.38)
    canvas.glow(x, y, radius * 2.6, body, 0.4)
    face = Radial(centre=(x, y), inner=mix(body, WHITE, 0.45), outer=body, radius=radius)
    if kind == "moon" and "crescent" in scene.reading.words:
        shape = (
            Stencil().disc(x, y, radius).hole(ring(x + radius * 0.42, y - radius * 0.12, radius * 0.86, radius * 0.86))
        )
        canvas.paint(shape, face)
        return
    canvas.paint(Stencil().disc(x, y, radius), face)
    if kind == "moon":
        _seas_of_the_moon(canvas, scene, x, y, radius)


def _seas_of_the_moon(canvas: Canvas, scene: Scene, x: float, y: float, radius: float) -> None:
    dice, shadow = scene.dice("moon"), mix(scene.palette.light, scene.palette.sky, 0.3)
    seas = Stencil()
    for _ in range(7):
        u, v, size = dice.between(-0.6, 0.6), dice.between(-0.6, 0.6), dice.between(0.08, 0.26)
        if (u * u + v * v) ** 0.5 + size < 0.88:
            seas.shape(ring(x + u * radius, y + v * radius, size * radius, size * radius * 0.85))
    canvas.paint(seas, shadow, 0.55, soften=radius * 0.03)


def stars(canvas: Canvas, scene: Scene) -> None:
    """Stars that thin out towards the horizon; some shine with a cross of rays."""
    dice, unit = scene.dice("stars"), canvas.unit
    count = int(560 * min(3.0, canvas.width * canvas.height / (unit * unit)))
    small, large = Stencil(), Stencil()
    for _ in range(count):
        x, y, size = dice.between(0, canvas.width), dice.between(0, 1), dice.between(0, 1)
        y = y * y * scene.horizon * canvas.height
        if size > 0.993:
            reach = unit * dice.between(0.008, 0.016)
            large.stroke([(x - reach, y), (x + reach, y)], unit * 0.0012)
            large.stroke([(x, y - reach), (x, y + reach)], unit * 0.0012)
            large.disc(x, y, unit * 0.0026)
        else:
            (large if size > 0.8 else small).disc(x, y, unit * (0.0006 + 0.0014 * size * size))
    canvas.paint(small, scene.palette.light, 0.6)
    canvas.paint(large, scene.palette.light, 0.95)


def aurora(canvas: Canvas, scene: Scene) -> None:
    """Curtains of light, bright at their lower hem."""
    for index, code in enumerate(("4be3a0", "3fd6c8", "9a6be8")):
        dice = scene.dice(f"aurora {index}")
        hem = (0.36 - 0.07 * index + 0.14 * profile(dice, canvas.width, canvas.width * 0.45, octaves=2)) * canvas.height
        rays = 0.55 + 0.45 * profile(dice, canvas.width, canvas.unit * 0.035, octaves=3, gain=0.7)
        reach = canvas.height * (0.26 + 0.08 * index)
        above = (hem.astype(np.float32)[None, :] - canvas.rows) / np.float32(reach)
        veil = smooth(-0.07, 0.02, above) * np.clip(1 - above, 0, 1) ** 2
        canvas.blend(enrich(rgb(code), 1.05), np.clip(veil * rays.astype(np.float32)[None, :], 0, 1) * np.float32(0.62))


def clouds(canvas: Canvas, scene: Scene) -> None:
    """Drawn-out clouds, lit from the side of the light and darker below."""
    requested, storm = scene.shows("clouds"), "storm" in scene.reading.moods
    cover = 0.02 if storm else 0.12 if requested else 0.34
    dice, level = scene.dice("clouds"), scene.horizon * canvas.height
    drift = cloud(
        dice, canvas.width, canvas.height, canvas.unit * 0.22, octaves=6, stretch=2.6 if not requested else 1.9
    )
    band = 1 - smooth(0.55, 1.02, canvas.rows / np.float32(level))
    body = smooth(cover, cover + 0.5, drift) * band
    shadow = mix(scene.palette.zenith, scene.palette.haze, 0.35 if storm else 0.75)
    canvas.blend(shadow, body * np.float32(0.85 if storm else 0.5))
    # The same noise seen a little lower down: where it is thinner above, light falls in.
    step = max(1, int(canvas.unit * 0.022))
    rim = np.clip(drift - above(drift, step), 0, 1) * body
    crest = mix(scene.palette.light, scene.palette.horizon, 0.25)
    canvas.blend(crest, np.clip(rim * np.float32(2.6), 0, 0.9))


def rainbow(canvas: Canvas, scene: Scene) -> None:
    """Seven bands of light on the side that the sun is not on."""
    x, y = canvas.width * (1 - scene.light_x), canvas.height * (scene.horizon + 0.08)
    radius, thick = canvas.unit * 0.52, canvas.unit * 0.017
    for code in ("e8524a", "f08a3c", "f6d04a", "5fb85a", "3f9ed0", "4a5fc0", "8a55b8"):
        band = Stencil().disc(x, y, radius).hole(ring(x, y, radius - thick, radius - thick, points=160))
        canvas.paint(band, rgb(code), 0.5, soften=thick * 0.25)
        radius -= thick


def birds(canvas: Canvas, scene: Scene, *, few: bool = False) -> None:
    """A far flock, drawn as pen strokes."""
    dice, unit = scene.dice("far birds"), canvas.unit
    flock = Stencil()
    side = 1 - scene.light_x
    for _ in range(dice.whole(4, 6) if few else dice.whole(9, 14)):
        x = canvas.width * (side + dice.between(-0.2, 0.2))
        y = canvas.height * (scene.horizon * 0.5 + dice.between(-0.16, 0.14))
        span, lift_ = unit * dice.between(0.008, 0.02), dice.between(0.25, 0.6)
        for way in (-1, 1):
            tip, bend = (x + way * span, y - span * lift_ * 0.5), (x + way * span * 0.5, y - span * lift_)
            flock.shape([(x, y), bend, tip, (bend[0], bend[1] + span * 0.16), (x, y + span * 0.16)])
    canvas.paint(flock, lift(scene.palette.ink, 0.08), 0.8)
