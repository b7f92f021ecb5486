"""Deep space: nebulae, a galaxy's band of stars, planets with rings."""

import numpy as np

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, enrich, lift, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, ring
from services.generator.adapters.providers.procedural.drawing.paint.noise import cells, cloud, smooth
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def deep(canvas: Canvas, scene: Scene) -> None:
    """Darkness, clouds of lit gas along a slanting band, and dust of stars."""
    dice, palette = scene.dice("deep"), scene.palette
    canvas.blend(mix(palette.ink, palette.zenith, 0.45), 1.0)
    slant = dice.between(0.25, 0.6) * dice.pick([-1, 1])
    across = (canvas.rows / np.float32(canvas.height) - 0.5) + (
        canvas.columns / np.float32(canvas.width) - 0.5
    ) * np.float32(slant)
    warp = cloud(dice, canvas.width, canvas.height, canvas.unit * 0.4, octaves=4) * np.float32(0.16)
    band = np.clip(1 - np.abs(across + warp) / np.float32(0.36), 0, 1)
    band = band * band * (3 - 2 * band)
    hues = [palette.accent, enrich(rgb("7a4fd0"), 1.1), enrich(rgb("2f8fc8"), 1.0)]
    if scene.reading.colours:
        hues = [*scene.reading.colours, lift(scene.reading.colours[0], 0.1), palette.sky][:3]
    for index, hue in enumerate(hues):
        gas = cloud(
            scene.dice(f"gas {index}"), canvas.width, canvas.height, canvas.unit * (0.3 - 0.06 * index), octaves=6
        )
        canvas.blend(hue, smooth(-0.15, 0.9, gas) * band * np.float32(0.8))
    dust = cloud(scene.dice("dust lanes"), canvas.width, canvas.height, canvas.unit * 0.14, octaves=6)
    canvas.blend(mix(palette.ink, palette.zenith, 0.2), smooth(0.15, 0.75, dust) * band * np.float32(0.75))
    core = np.clip(band * 1.6 - 0.95, 0, 1) * smooth(
        -0.5, 0.7, cloud(dice, canvas.width, canvas.height, canvas.unit * 0.2, octaves=5)
    )
    canvas.blend(palette.light, core * np.float32(0.65))
    specks = dice.field(canvas.height, canvas.width)
    fine = cells(dice, canvas.width, canvas.height, 2, 2) if canvas.unit > 500 else specks * 2 - 1
    canvas.blend(
        palette.light, smooth(0.985, 1.0, specks) * (0.25 + 0.75 * band) * np.clip(fine + 0.7, 0, 1) * np.float32(0.8)
    )


def planet(canvas: Canvas, scene: Scene) -> None:
    """A banded planet, lit from one side, with its ring and a small moon."""
    dice, palette = scene.dice("planet"), scene.palette
    side = 1 if scene.light_x > 0.5 else -1
    x, y, radius = canvas.width * (0.5 - side * 0.06), canvas.height * 0.5, canvas.unit * 0.24
    color = scene.tint("planet", mix(palette.accent, palette.horizon, 0.25))
    tilt = side * 0.055
    shell = mix(color, palette.light, 0.45)
    rings = [(2.15, 1.92, 0.55), (1.86, 1.5, 0.8), (1.46, 1.3, 0.4)]
    ringed = not scene.reading.words & {"mars", "earth", "venus"}
    if ringed:
        for outer, inner, opacity in rings:
            canvas.paint(_annulus((x, y), radius, outer, inner, tilt, near=False), shell, opacity)
    _sphere(canvas, scene, (x, y), radius, color, side)
    if ringed:
        for outer, inner, opacity in rings:
            canvas.paint(_annulus((x, y), radius, outer, inner, tilt, near=True), shell, opacity)
    _sphere(
        canvas,
        scene,
        (x + side * radius * dice.between(1.2, 1.5), y - radius * 1.25),
        radius * 0.16,
        mix(palette.paper, palette.sky, 0.35),
        side,
    )


def _annulus(at: Point, radius: float, outer: float, inner: float, tilt: float, *, near: bool) -> Stencil:
    wide = ring(*at, radius * outer, radius * outer * 0.24, turned=tilt, points=120)
    thin = ring(*at, radius * inner, radius * inner * 0.24, turned=tilt, points=120)
    part = slice(0, 61) if near else slice(60, 120)
    return Stencil([*wide[part], *reversed(thin[part])])


def _sphere(canvas: Canvas, scene: Scene, at: Point, radius: float, color: Color, side: int) -> None:
    dice = scene.dice(f"sphere {round(radius)}")
    canvas.glow(*at, radius * 1.5, color, 0.3)
    cut = Stencil().disc(*at, radius).cut(canvas.width, canvas.height)
    if cut is None:
        return
    (left, top, right, bottom), mask = cut
    box = (left, top, right, bottom)
    u = (canvas.columns[:, left:right] - np.float32(at[0])) / np.float32(radius)
    v = (canvas.rows[top:bottom] - np.float32(at[1])) / np.float32(radius)
    canvas.blend(color, mask, box)
    wide, high = right - left, bottom - top
    bands = cells(dice, wide, high, radius * 3, radius * 0.14) + cells(
        dice, wide, high, radius * 0.5, radius * 0.07
    ) * np.float32(0.4)
    canvas.blend(lift(color, 0.12), mask * smooth(0.05, 0.7, bands) * np.float32(0.7), box)
    canvas.blend(mix(color, scene.palette.ink, 0.5), mask * smooth(0.05, 0.7, -bands) * np.float32(0.55), box)
    depth = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
    facing = u * np.float32(0.62 * side) - v * np.float32(0.42) + depth * np.float32(0.66)
    canvas.blend(scene.palette.ink, mask * (1 - smooth(-0.05, 0.75, facing)) * np.float32(0.93), box)
    canvas.blend(scene.palette.light, mask * smooth(0.86, 1.02, facing) * np.float32(0.4), box)
