"""Open sea, breaking waves, and still water that mirrors what stands above it."""

import numpy as np

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, lift, mix
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice
from services.generator.adapters.providers.procedural.drawing.paint.noise import Line, cells, profile, smooth
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def sea(canvas: Canvas, scene: Scene) -> None:
    """Water to the horizon, dashes of light and shade that grow nearer, glitter under the sun."""
    palette, top = scene.palette, scene.horizon * canvas.height
    deep = scene.tint("sea", mix(palette.zenith, palette.land, 0.4))
    far = mix(scene.tint("sea", palette.sky), palette.horizon, 0.45)
    line = np.full(canvas.width, top)
    canvas.fill_under(line, Gradient(top=far, bottom=mix(deep, palette.ink, 0.2), start=top, end=canvas.height))
    dice = scene.dice("sea")
    dashes(canvas, scene, dice, 420, None, mix(deep, palette.ink, 0.35), 0.4)
    dashes(canvas, scene, dice, 220, None, lift(far, 0.06), 0.5)
    if scene.disc() is not None:
        dashes(canvas, scene, dice, 380, scene.light_x * canvas.width, palette.light, 0.85)
    canvas.blend(
        palette.light, (0.5 - np.clip(np.abs(canvas.rows - np.float32(top)) / np.float32(canvas.unit * 0.004), 0, 0.5))
    )


def dashes(
    canvas: Canvas, scene: Scene, dice: Dice, count: int, column: float | None, color: Color, opacity: float
) -> None:
    """Lens-shaped strokes on the water; around a column they are glitter."""
    top, unit = scene.horizon * canvas.height, canvas.unit
    strokes = Stencil()
    for _ in range(count):
        t = dice.between(0.02, 1) ** 1.5
        y = top + (canvas.height - top) * t
        long = unit * (0.006 + 0.07 * t) * dice.between(0.4, 1.3)
        thick = unit * (0.0008 + 0.0048 * t) * dice.between(0.6, 1.2)
        x = dice.between(-0.05, 1.05) * canvas.width
        if column is not None:
            spread = unit * (0.035 + 0.13 * t)
            x = column + spread * (dice.between(-1, 1) + dice.between(-1, 1)) * 0.7
            long *= 0.6
        strokes.shape([(x - long, y), (x - long * 0.3, y - thick), (x + long * 0.4, y - thick * 0.8), (x + long, y),
                       (x + long * 0.3, y + thick), (x - long * 0.4, y + thick * 0.8)])  # fmt: skip
    canvas.paint(strokes, color, opacity)


def waves(canvas: Canvas, scene: Scene) -> None:
    """Rows of breaking waves with curling crests and foam, as a woodblock has them."""
    palette, rows = scene.palette, 8
    deep = scene.tint("waves", scene.tint("sea", mix(palette.zenith, palette.land, 0.45)))
    foam = mix(palette.paper, palette.light, 0.3)
    for index in range(rows):
        near = index / (rows - 1)
        dice = scene.dice(f"wave {index}")
        edge = _crests(canvas, scene, dice, near)
        tone = scene.far(mix(lift(deep, 0.05), palette.ink, 0.15 + 0.3 * near), 0.6 * (1 - near))
        top = float(edge.min())
        body = Gradient(top=tone, bottom=mix(tone, palette.ink, 0.45), start=top, end=top + canvas.height * 0.22)
        spray = smooth(-0.1, 0.9, cells(dice, canvas.width, 1, canvas.unit * 0.06, 1))[0].astype(np.float64)
        canvas.fill_under(edge, scene.far(foam, 0.45 * (1 - near)), 0.95)
        canvas.fill_under(edge + canvas.unit * (0.002 + (0.002 + 0.013 * near) * (0.3 + spray)), body)
        _backs(canvas, dice, edge, (scene.far(mix(tone, foam, 0.4), 0.2), mix(tone, palette.ink, 0.5)), near)
        _spray(canvas, dice, edge, foam, near)


def _crests(canvas: Canvas, scene: Scene, dice: Dice, near: float) -> Line:
    position = np.arange(canvas.width) + profile(dice, canvas.width, canvas.unit * 0.5, octaves=2) * canvas.unit * 0.16
    length = canvas.unit * (0.16 + 0.34 * near)
    phase = position / length + dice.between(0, 1)
    phase = phase - np.floor(phase)
    # A trochoid in two parabolas: sharp crests, round troughs, the lee side steeper than the back.
    peak = np.where(phase < 0.64, phase / 0.64, (1 - phase) / 0.36)
    swell = profile(dice, canvas.width, canvas.unit * 0.7, octaves=3)
    rise = canvas.height * (0.012 + 0.075 * near)
    level = scene.horizon * canvas.height + canvas.height * (1.0 - scene.horizon) * (0.02 + 0.9 * near**1.25)
    crests: Line = level - rise * peak * peak * (0.75 + 0.5 * swell) + swell * rise * 0.5
    return crests


def _backs(canvas: Canvas, dice: Dice, edge: Line, colors: tuple[Color, Color], near: float) -> None:
    """Strokes that follow the swell below a crest, lighter where it lifts the light and darker in the trough."""
    top = int(max(0, edge.min()))
    if canvas.height - top < 4:
        return
    below = canvas.rows[top:] - edge.astype(np.float32)[None, :]
    reach = np.float32(canvas.height * (0.02 + 0.11 * near))
    bend = cells(dice, canvas.width, canvas.height - top, canvas.unit * 0.22, canvas.unit * 0.05)
    phase = below / np.float32(canvas.unit * (0.008 + 0.02 * near)) + bend * np.float32(1.6)
    stroke = smooth(0.45, 0.95, np.abs((phase - np.floor(phase)) * 2 - 1))
    fade = smooth(0.05, 0.3, below / reach) * (1 - smooth(0.3, 1.3, below / reach))
    broken = smooth(-0.25, 0.35, cells(dice, canvas.width, canvas.height - top, canvas.unit * 0.13, canvas.unit * 0.03))
    box = (0, top, canvas.width, canvas.height)
    canvas.blend(colors[1], smooth(0.2, 1.2, below / reach) * np.float32(0.4), box)
    canvas.blend(colors[0], stroke * fade * broken * np.float32(0.6), box)


def _spray(canvas: Canvas, dice: Dice, edge: Line, color: Color, near: float) -> None:
    drops, high = Stencil(), float(np.percentile(edge, 30))
    for _ in range(int(20 + 90 * near)):
        x = dice.between(0, canvas.width - 1)
        y = float(edge[int(x)])
        if y < high:
            drops.disc(x + dice.between(0, 0.02) * canvas.unit, y - dice.between(0, 0.03) * canvas.unit * near,
                       canvas.unit * dice.between(0.0008, 0.0035) * (0.3 + near))  # fmt: skip
    canvas.paint(drops, color, 0.85)


def mirror(canvas: Canvas, scene: Scene) -> None:
    """Still water below the horizon: the image above, turned over, stretched and broken by ripples."""
    top = int(scene.horizon * canvas.height + canvas.unit * 0.02)
    high = canvas.height - top
    if high < 2 or top < 2:
        return
    dice = scene.dice("mirror")
    depth = np.arange(high, dtype=np.float32)[:, None] / np.float32(high)
    ripple = cells(dice, canvas.width, high, canvas.unit * 0.16, canvas.unit * 0.008)
    shift = ripple * depth * np.float32(canvas.unit * 0.03)
    rows = top - 1 - (np.arange(high, dtype=np.float32)[:, None] * np.float32(0.95 * min(1.0, top / high)) + shift * 2)
    rows = np.clip(rows, 0, top - 1).astype(np.int32)
    columns = np.clip(canvas.columns - np.float32(0.5) + shift, 0, canvas.width - 1).astype(np.int32)
    for plane in canvas.planes:
        plane[top:] = plane[rows, columns]
    box = (0, top, canvas.width, canvas.height)
    water = scene.tint("lake", mix(scene.palette.zenith, scene.palette.ink, 0.3))
    canvas.blend(water, 0.08 + 0.24 * depth, box)
    canvas.blend(scene.palette.light, smooth(0.55, 0.9, ripple) * depth * np.float32(0.22), box)
    shore = np.clip(1 - np.arange(high, dtype=np.float32)[:, None] / np.float32(max(1.5, canvas.unit * 0.006)), 0, 1)
    canvas.blend(mix(scene.palette.haze, scene.palette.light, 0.5), shore * np.float32(0.5), box)
