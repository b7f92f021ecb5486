"""Abstract images that flow: ribbons, marbled ink, the relief of a land seen from above."""

import numpy as np
from numpy.typing import NDArray

from services.generator.adapters.providers.procedural.drawing.layers.abstract_shapes import along, inks
from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, lift, luma, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.dice import Field
from services.generator.adapters.providers.procedural.drawing.paint.noise import above, cells, cloud, profile, smooth
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def ribbons(canvas: Canvas, scene: Scene) -> None:
    """Sheets of colour laid over each other, each with a wavy brim and a shadow under it."""
    dice, palette = scene.dice("ribbons"), scene.palette
    colors = sorted(inks(scene), key=luma, reverse=not palette.dark)
    count = 7 if scene.reading.framing == "minimal" else 15
    canvas.blend(Gradient(top=palette.horizon, bottom=along(colors, 0), start=0, end=canvas.height * 0.5), 1.0)
    canvas.glow(scene.light_x * canvas.width, canvas.height * 0.18, canvas.unit * 0.6, palette.light, 0.5)
    drift = profile(dice, canvas.width, canvas.width * 0.5, octaves=2, gain=0.35)
    for index in range(count):
        way = index / (count - 1)
        drift = (
            drift * 0.82 + profile(dice, canvas.width, canvas.width * dice.between(0.3, 0.6), octaves=2, gain=0.3) * 0.5
        )
        edge = canvas.height * (0.16 + 0.86 * way + drift * 0.17)
        tone = along(colors, way)
        for reach, opacity in ((0.03, 0.06), (0.016, 0.08), (0.007, 0.1)):
            canvas.fill_under(edge - canvas.unit * reach, palette.ink, opacity)
        top = float(edge.min())
        canvas.fill_under(edge, lift(tone, 0.1))
        canvas.fill_under(
            edge + canvas.unit * 0.0035,
            Gradient(top=tone, bottom=mix(tone, palette.ink, 0.25), start=top, end=top + canvas.height * 0.32),
        )


def marble(canvas: Canvas, scene: Scene) -> None:
    """Ink in water: noise bent by noise, with fine gilded veins."""
    dice, palette = scene.dice("marble"), scene.palette
    field = warped(canvas, scene, "marble", canvas.unit * 0.42, 0.42)
    colors = sorted(inks(scene), key=luma)
    if palette.dark:
        colors = [palette.ink, *colors]
    stops = np.array([along(colors, i / 255) for i in range(256)], dtype=np.float32)
    position = np.clip((field * np.float32(0.62) + np.float32(0.5)) * 255, 0, 255).astype(np.int32)
    for channel, plane in enumerate(canvas.planes):
        plane[:] = stops[:, channel][position]
    level = field * np.float32(dice.between(3.2, 4.6))
    apart = np.abs(level - np.floor(level) - np.float32(0.5))
    vein = 1 - smooth(0.0, 0.045, apart)
    broken = smooth(-0.1, 0.5, cells(dice, canvas.width, canvas.height, canvas.unit * 0.2, canvas.unit * 0.2))
    canvas.blend(mix(rgb("d9b36a"), palette.light, 0.3), vein * broken * np.float32(0.8))
    slope = np.clip((field - above(field, max(1, int(canvas.unit * 0.006)))) * np.float32(9), -1, 1)
    canvas.blend(palette.light, np.clip(slope, 0, 1) * np.float32(0.22))
    canvas.blend(palette.ink, np.clip(-slope, 0, 1) * np.float32(0.22))


def warped(canvas: Canvas, scene: Scene, name: str, step: float, bend: float) -> Field:
    """Fractal noise read at places that other noise has moved."""
    wide, high = canvas.width, canvas.height
    field = cloud(scene.dice(f"{name} body"), wide, high, step, octaves=6)
    for turn in range(2):
        along_x = cloud(scene.dice(f"{name} x {turn}"), wide, high, step, octaves=3) * np.float32(
            canvas.unit * bend * 0.55
        )
        along_y = cloud(scene.dice(f"{name} y {turn}"), wide, high, step, octaves=3) * np.float32(
            canvas.unit * bend * 0.55
        )
        columns = _folded(canvas.columns + along_x, wide)
        rows = _folded(canvas.rows + along_y, high)
        field = field[rows, columns]
    # Reading whole pixels leaves steps; a light average takes them away.
    return (field + np.roll(field, 1, axis=0) + np.roll(field, 1, axis=1) + np.roll(field, -1, axis=0)) * np.float32(
        0.25
    )


def _folded(position: Field, length: int) -> NDArray[np.int32]:
    """Places beyond an edge, mirrored back in."""
    inside = np.abs(position - 2 * length * np.round(position / np.float32(2 * length)))
    return np.asarray(np.clip(inside, 0, length - 1), dtype=np.int32)


def aerial(canvas: Canvas, scene: Scene) -> None:
    """A land from above: tinted heights, hill shade, contour lines, water in the low parts."""
    palette = scene.palette
    wet = (
        0.18
        if scene.shows("sea", "waves")
        else -0.12
        if scene.shows("lake", "river") or scene.reading.allows("sea")
        else -2.0
    )
    field = warped(canvas, scene, "relief", canvas.unit * 0.5, 0.2)
    if scene.reading.words & {"island", "islands"}:
        u, v = canvas.columns / np.float32(canvas.width) * 2 - 1, canvas.rows / np.float32(canvas.height) * 2 - 1
        field = field * np.float32(0.6) + np.float32(0.72) - np.sqrt(u * u + v * v) * np.float32(1.05)
    heights = [
        _lowland(scene),
        mix(palette.land, palette.horizon, 0.35),
        mix(palette.haze, palette.light, 0.3),
        palette.paper,
    ]
    stops = np.array([along(heights, i / 255) for i in range(256)], dtype=np.float32)
    up = np.clip((field - np.float32(wet)) / np.float32(0.95 - max(wet, -0.6)), 0, 1)
    position = (up * 255).astype(np.int32)
    for channel, plane in enumerate(canvas.planes):
        plane[:] = stops[:, channel][position]
    step = max(1, int(canvas.unit * 0.004))
    shade = np.clip((np.roll(field, step, axis=0) + np.roll(field, step, axis=1) - 2 * field) * np.float32(11), -1, 1)
    canvas.blend(palette.ink, np.clip(shade, 0, 1) * np.float32(0.45))
    canvas.blend(palette.light, np.clip(-shade, 0, 1) * np.float32(0.4))
    _contours(canvas, up, mix(palette.ink, palette.land, 0.3), 11, 0.5)
    if scene.shows("forest", "tree"):
        woods = cloud(scene.dice("woods"), canvas.width, canvas.height, canvas.unit * 0.12, octaves=6)
        canvas.blend(
            mix(rgb("2c5c40"), palette.ink, 0.2),
            smooth(0.1, 0.2, woods) * (1 - smooth(0.45, 0.6, up)) * np.float32(0.8),
        )
    _shallows(canvas, scene, field, wet)


def _lowland(scene: Scene) -> Color:
    if scene.shows("dunes"):
        return mix(rgb("d9a866"), scene.palette.land, 0.3)
    return mix(scene.tint("meadow", scene.palette.land), scene.palette.ink, 0.15)


def _contours(canvas: Canvas, field: Field, color: Color, count: int, opacity: float) -> None:
    level = field * np.float32(count)
    apart = np.abs(level - np.round(level))
    steep = np.abs(level - np.roll(level, 1, axis=0)) + np.abs(level - np.roll(level, 1, axis=1)) + np.float32(1e-4)
    line = np.clip(np.float32(max(0.8, canvas.unit * 0.0013)) - apart / steep, 0, 1)
    canvas.blend(color, line * np.float32(opacity))


def _shallows(canvas: Canvas, scene: Scene, field: Field, wet: float) -> None:
    palette = scene.palette
    depth = np.float32(wet) - field
    deep = scene.tint("sea", scene.tint("lake", mix(palette.zenith, rgb("1f5f86"), 0.35)))
    water = smooth(-0.004, 0.004, depth)
    canvas.blend(mix(deep, palette.light, 0.4), water)
    canvas.blend(deep, water * smooth(0.0, 0.35, depth))
    canvas.blend(mix(deep, palette.ink, 0.5), water * smooth(0.2, 0.8, depth) * np.float32(0.8))
    canvas.blend(palette.paper, (1 - smooth(0.0, 0.02, np.abs(depth))) * np.float32(0.7 if wet > -1 else 0.0))
