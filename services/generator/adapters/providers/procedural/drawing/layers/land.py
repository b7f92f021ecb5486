"""Ground: mountains, hills, dunes, the near brim, roads and rivers."""

import numpy as np

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient, Shade
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, lift, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, jagged, spline
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice
from services.generator.adapters.providers.procedural.drawing.paint.noise import Line, cells, profile, smooth
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def hills(canvas: Canvas, scene: Scene) -> None:
    """Rolling ridges, each nearer one darker, with light along its brim."""
    count = 2 if scene.reading.framing == "minimal" else 4
    for index in range(count):
        near = (index + 1) / count
        dice = scene.dice(f"hill {index}")
        swell = profile(dice, canvas.width, canvas.width * (0.42 + 0.2 * near), octaves=3, gain=0.3)
        level = scene.horizon + (0.98 - scene.horizon) * (near**1.4 * 0.75) - 0.02
        edge = canvas.height * level + swell * canvas.height * (0.035 + 0.05 * near)
        tone = _grown(scene, near)
        slope(canvas, edge, tone, scene.far(tone, 0.35 * (1 - near) + 0.1))
        furrows(canvas, scene, edge, tone, dice)


def _grown(scene: Scene, near: float) -> Color:
    ground = scene.ground
    dark = ground if scene.snowy else mix(ground, scene.palette.ink, 0.1 + 0.55 * near * near)
    return scene.far(dark, 0.72 * (1 - near))


def slope(canvas: Canvas, edge: Line, top: Color, bottom: Color) -> None:
    """One ridge: lit brim, body, and paler foot where the air lies."""
    height = canvas.height
    start = float(edge.min())
    canvas.fill_under(edge, lift(top, 0.07))
    canvas.fill_under(
        edge + canvas.unit * 0.004, Gradient(top=top, bottom=bottom, start=start, end=start + height * 0.3)
    )


def furrows(canvas: Canvas, scene: Scene, edge: Line, tone: Color, dice: Dice) -> None:
    """Brush texture on a slope, so that no surface is empty."""
    top = int(max(0, edge.min()))
    high = canvas.height - top
    if high < 4:
        return
    grass = cells(dice, canvas.width, high, canvas.unit * 0.09, canvas.unit * 0.012)
    under = smooth(0, canvas.unit * 0.05, canvas.rows[top:] - edge.astype(np.float32)[None, :])
    canvas.blend(
        lift(tone, -0.06), smooth(0.1, 0.8, grass) * under * np.float32(0.5), (0, top, canvas.width, canvas.height)
    )


def mountains(canvas: Canvas, scene: Scene) -> None:
    """Three ranges of peaks with a lit and a shaded face, paler the further."""
    ranges = 2 if scene.reading.framing == "minimal" else 3
    for index in range(ranges):
        near = (index + 1) / ranges
        dice = scene.dice(f"range {index}")
        height = (
            canvas.height * (0.38 - 0.2 * near + (0.05 if ranges == 2 else 0)) * (1 if scene.horizon < 0.7 else 0.9)
        )
        foot = canvas.height * (scene.horizon + 0.035 * near)
        for peak in _peaks(canvas, dice, height, wide=index > 0):
            _peak(
                canvas, scene, dice, peak, foot, depth=0.78 * (1 - near) + 0.1, snow=index < ranges - 1 or scene.snowy
            )
    _plain(canvas, scene)


def _plain(canvas: Canvas, scene: Scene) -> None:
    """The flat land between the mountains and the viewer."""
    top = canvas.height * (scene.horizon + 0.03)
    edge = top + profile(scene.dice("plain"), canvas.width, canvas.width * 0.4, octaves=2) * canvas.height * 0.006
    near = scene.ground if scene.snowy else mix(scene.ground, scene.palette.ink, 0.25)
    canvas.fill_under(edge, Gradient(top=scene.far(scene.ground, 0.6), bottom=near, start=top, end=canvas.height))
    furrows(canvas, scene, edge, scene.far(near, 0.4), scene.dice("plain grass"))


def mound(canvas: Canvas, scene: Scene, x: float, top: float, reach: float) -> None:
    """A hill of its own, under what stands on it, falling away to both sides."""
    away = (np.arange(canvas.width) + 0.5 - x) / reach
    rough = profile(scene.dice("mound"), canvas.width, canvas.unit * 0.2, octaves=3)
    edge = top + canvas.height * 0.3 * away * away + rough * canvas.unit * 0.012
    tone = scene.ground if scene.snowy else mix(scene.ground, scene.palette.ink, 0.35)
    slope(canvas, edge, tone, mix(tone, scene.palette.ink, 0.1 if scene.snowy else 0.45))
    furrows(canvas, scene, edge, tone, scene.dice("mound grass"))


def _peaks(canvas: Canvas, dice: Dice, height: float, *, wide: bool) -> list[tuple[float, float]]:
    """Summits as (x, height), highest first so that lower ones stand before them."""
    count = max(2, round(canvas.width / (height * (1.5 if wide else 1.25))))
    peaks = []
    for i in range(-1, count + 1):
        x = canvas.width * (i + 0.5 + dice.between(-0.35, 0.35)) / count
        peaks.append((x, height * dice.between(0.55, 1.05)))
    main = dice.whole(1, count)
    peaks[main] = (peaks[main][0], height * 1.25)
    return sorted(peaks, key=lambda peak: -peak[1])[:24]


def _peak(
    canvas: Canvas, scene: Scene, dice: Dice, peak: tuple[float, float], foot: float, *, depth: float, snow: bool
) -> None:
    x, height = peak
    summit = (x, foot - height)
    left = jagged((x - height * dice.between(0.85, 1.25), foot), summit, dice)
    right = jagged(summit, (x + height * dice.between(0.85, 1.25), foot), dice)
    spine = jagged(summit, (x + height * dice.between(-0.25, 0.25), foot), dice, roughness=0.3)
    rock = scene.tint("mountain", mix(scene.palette.land, scene.palette.ink, 0.3))
    lit, dark = scene.far(lift(rock, 0.07), depth), scene.far(mix(rock, scene.palette.ink, 0.5), depth * 0.92)
    from_left = scene.light_x * canvas.width < x
    faces = [([*left, *spine], from_left), ([*right, *reversed(spine)], not from_left)]
    canvas.paint(Stencil([*left, *right]), _fading(scene, lit, summit[1], foot, depth))
    for outline, bright in faces:
        if not bright:
            canvas.paint(Stencil(outline), _fading(scene, dark, summit[1], foot, depth))
    if snow and scene.reading.allows("snow"):
        _cap(canvas, scene, dice, (left[::-1], spine, right), height, from_left=from_left, depth=depth)


def _fading(scene: Scene, color: Color, top: float, foot: float, depth: float) -> Shade:
    return Gradient(top=color, bottom=scene.far(color, 0.55 + 0.3 * depth), start=top, end=foot)


def _cap(
    canvas: Canvas,
    scene: Scene,
    dice: Dice,
    lines: tuple[list[Point], list[Point], list[Point]],
    height: float,
    *,
    from_left: bool,
    depth: float,
) -> None:
    """Snow that reaches down the gullies of both faces."""
    left, spine, right = lines
    line = left[0][1] + height * (0.62 if scene.snowy else dice.between(0.26, 0.4))
    white = mix(scene.palette.paper, scene.palette.light, 0.35)
    bright = scene.far(lift(white, -0.12 if scene.palette.dark else 0.0), depth * 0.6)
    shade = scene.far(mix(white, scene.palette.zenith, 0.5), depth * 0.75)
    for flank, lit in ((left, from_left), (right, not from_left)):
        outer = [p for p in flank if p[1] <= line]
        inner = [p for p in spine if p[1] <= line + height * 0.08]
        if len(outer) > 1 and len(inner) > 1:
            canvas.paint(
                Stencil([*outer, *_gullies(outer[-1], inner[-1], dice, height), *inner[::-1]]), bright if lit else shade
            )


def _gullies(start: Point, end: Point, dice: Dice, height: float) -> list[Point]:
    teeth = []
    count = 11
    for i in range(1, count):
        t = i / count
        drop = height * (dice.between(0.0, 0.13) if i % 2 else dice.between(-0.07, 0.02))
        teeth.append((start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t + drop))
    return teeth


def dunes(canvas: Canvas, scene: Scene) -> None:
    """Sand ridges with a sunlit back and a shaded lee, and ripples that the wind left."""
    bare = mix(scene.palette.land, scene.palette.horizon, 0.3 if scene.palette.dark else 0.45)
    sand = scene.tint("dunes", mix(bare, rgb("dc9f5c"), 0.15 if scene.palette.dark else 0.45))
    for index in range(5):
        near = index / 4
        dice = scene.dice(f"dune {index}")
        crest = canvas.width * dice.between(0.1, 0.9)
        base = canvas.height * (scene.horizon - 0.01 + (0.86 - scene.horizon) * near**1.3)
        rise = canvas.height * (0.05 + 0.13 * near)
        away = np.abs(np.arange(canvas.width) - crest) / (canvas.width * (0.34 + 0.25 * near))
        swell = profile(dice, canvas.width, canvas.width * 0.4, octaves=2)
        bell = np.clip(1 - away, 0, 1)
        edge = base - rise * bell * bell * (3 - 2 * bell) * 1.1 + swell * rise * 0.35
        lit = scene.far(mix(sand, scene.palette.light, 0.28 * (1 - near)), 0.55 * (1 - near))
        foot = scene.far(mix(sand, scene.palette.ink, 0.25 + 0.35 * near), 0.4 * (1 - near))
        canvas.fill_under(
            edge, Gradient(top=lit, bottom=foot, start=float(edge.min()), end=float(edge.min()) + rise * 3)
        )
        _ripples(canvas, edge, dice, lift(lit, -0.09), near)
        _lee(canvas, scene, edge, crest, rise, mix(foot, scene.palette.ink, 0.35 + 0.2 * near))


def _ripples(canvas: Canvas, edge: Line, dice: Dice, color: Color, near: float) -> None:
    top = int(max(0, edge.min()))
    if canvas.height - top < 4:
        return
    bend = cells(dice, canvas.width, canvas.height - top, canvas.unit * 0.3, canvas.unit * 0.12)
    depth = (canvas.rows[top:] - edge.astype(np.float32)[None, :]) / np.float32(canvas.unit * (0.006 + 0.012 * near))
    phase = depth + bend * np.float32(3)
    stripe = np.abs((phase - np.floor(phase)) * 2 - 1)
    mask = smooth(0.35, 0.95, stripe) * smooth(0, 4, depth) * np.float32(0.25 + 0.25 * near)
    canvas.blend(color, mask, (0, top, canvas.width, canvas.height))


def _lee(canvas: Canvas, scene: Scene, edge: Line, crest: float, rise: float, color: Color) -> None:
    """The face that the light does not reach: from the crest down to a curving foot."""
    way = 1 if scene.light_x * canvas.width < crest else -1
    reach = canvas.width * 0.6
    brim = [
        (x, float(edge[int(min(canvas.width - 1, max(0, x)))]))
        for x in (crest + way * reach * i / 40 for i in range(41))
    ]
    (x0, y0), (x1, y1) = brim[0], brim[-1]
    foot = spline(
        [(x0, y0), (x0 + way * reach * 0.06, y0 + rise * 0.55), (x0 - way * reach * 0.04, y0 + rise * 1.1),
         (x0 + way * reach * 0.25, y0 + rise * 1.9), (x1, y1 + rise * 2.2)], closed=False,
    )  # fmt: skip
    shade = Gradient(top=color, bottom=mix(color, scene.palette.haze, 0.4), start=y0, end=y0 + rise * 2.4)
    canvas.paint(Stencil([*brim, *reversed(foot)]), shade, 0.8)


def foreground(canvas: Canvas, scene: Scene) -> None:
    """The ground at the viewer's feet, with blades along its brim."""
    edge = scene.near_edge(canvas)
    tone = scene.ground if scene.snowy else mix(scene.ground, scene.palette.ink, 0.72)
    slope(canvas, edge, tone, mix(tone, scene.palette.ink, 0.25 if scene.snowy else 0.5))
    if scene.snowy or scene.shows("dunes"):
        return
    dice, blades = scene.dice("blades"), Stencil()
    for _ in range(min(700, int(260 * canvas.width / canvas.unit))):
        x = dice.between(0, canvas.width - 1)
        y, tall = float(edge[int(x)]) + canvas.unit * 0.006, canvas.unit * dice.between(0.012, 0.04)
        lean, half = tall * dice.between(-0.4, 0.4), canvas.unit * 0.0018
        blades.shape([(x - half, y), (x + lean, y - tall), (x + half, y)])
    canvas.paint(blades, tone)


def road(canvas: Canvas, scene: Scene) -> None:
    """A road that winds to the horizon."""
    color = scene.tint("road", mix(scene.palette.haze, scene.palette.light, 0.45))
    _winding(canvas, scene, "road", Gradient(top=color, bottom=lift(color, -0.08), start=0, end=canvas.height))


def river(canvas: Canvas, scene: Scene) -> None:
    """A river that winds to the horizon and carries the sky's colour."""
    top = scene.tint("river", mix(scene.palette.horizon, scene.palette.light, 0.3))
    bottom = scene.tint("river", mix(scene.palette.sky, scene.palette.zenith, 0.5))
    _winding(
        canvas, scene, "river", Gradient(top=top, bottom=bottom, start=scene.horizon * canvas.height, end=canvas.height)
    )


def _winding(canvas: Canvas, scene: Scene, name: str, shade: Shade) -> None:
    left, right = course(canvas, scene, name)
    canvas.paint(Stencil([*left, *reversed(right)]), shade)


def course(canvas: Canvas, scene: Scene, name: str) -> tuple[list[Point], list[Point]]:
    """Both banks of a river or edges of a road, from the horizon to the viewer."""
    width, height = canvas.width, canvas.height
    start = scene.horizon * height + 0.02 * height
    target, side = width * (0.35 + 0.3 * scene.light_x), scene.dice(name).pick([-1, 1])
    left: list[Point] = []
    right: list[Point] = []
    for i in range(7):
        t = i / 6
        y = start + (height * 1.04 - start) * t**1.6
        middle = target + side * width * 0.2 * t**0.8 * (1 if i % 2 else -1) * (1 - 0.4 * t)
        half = canvas.unit * (0.003 + 0.16 * t**1.8)
        left.append((middle - half, y))
        right.append((middle + half, y))
    return spline(left, closed=False), spline(right, closed=False)
