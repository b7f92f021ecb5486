"""Single buildings: a house with lit windows, a lighthouse on its rock."""

from services.generator.adapters.providers.procedural.drawing.layers import land
from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, jagged
from services.generator.adapters.providers.procedural.drawing.paint.noise import cells, smooth
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def house(canvas: Canvas, scene: Scene) -> None:
    """A gabled house; by water it stands on the far shore and is mirrored."""
    far = scene.shows("lake")
    x = canvas.width * (0.5 + 0.15 * scene.beside("cat", "fox", "dog"))
    size = canvas.unit * (0.14 if far else 0.17)
    level = scene.horizon * canvas.height + canvas.unit * 0.022
    foot = level if far else float(scene.near_edge(canvas)[int(x)]) + size * 0.06
    _house(canvas, scene, (x, foot), size)
    if scene.reading.allows("mist"):
        _smoke(canvas, scene, x + size * 0.62, foot - size * 1.36, size)


def village(canvas: Canvas, scene: Scene) -> None:
    """Houses that huddle between the horizon and the near ground, nearer ones larger."""
    dice, middle = scene.dice("village"), 0.5 + 0.12 * scene.side
    if scene.shows("sea", "waves", "lake"):
        land.mound(canvas, scene, canvas.width * middle, canvas.height * (scene.horizon - 0.04), canvas.unit * 0.42)
    for index in range(9):
        near = index / 8
        x = canvas.width * (middle + (index * 0.618 % 1 - 0.5) * (0.5 + 0.2 * near) + dice.between(-0.02, 0.02))
        y = canvas.height * (scene.horizon + 0.03 + (0.86 - scene.horizon) * near)
        _house(canvas, scene, (x, y), canvas.unit * (0.045 + 0.065 * near))


def _house(canvas: Canvas, scene: Scene, at: Point, size: float) -> None:
    (x, foot), palette = at, scene.palette
    wall = scene.tint("house", scene.tint("village", mix(palette.paper, palette.haze, 0.25)))
    if palette.dark:
        wall = mix(wall, palette.ink, 0.5)
    lit_right = scene.light_x * canvas.width > x
    shade = mix(wall, palette.ink, 0.35)
    roof = mix(mix(palette.accent, rgb("8a3b2c"), 0.5), palette.ink, 0.35)
    if scene.snowy:
        roof = mix(scene.ground, palette.paper, 0.4)
    _front(canvas, x, foot, size, shade if lit_right else wall)
    side = [(x, foot), (x, foot - size * 0.62), (x + size * 1.15, foot - size * 0.62), (x + size * 1.15, foot)]
    canvas.paint(Stencil(side), wall if lit_right else shade)
    left, right, ridge = x - size * 0.42, x + size * 0.78, foot - size * 1.12
    chimney = Stencil().bar(x + size * 0.55, foot - size * 1.36, x + size * 0.69, foot - size * 0.9)
    canvas.paint(chimney, mix(shade, palette.ink, 0.3))
    slope = [
        (left, ridge),
        (right, ridge),
        (x + size * 1.24, foot - size * 0.58),
        (x - size * 0.02, foot - size * 0.58),
    ]
    canvas.paint(Stencil(slope), roof)
    eave = [(x - size * 0.88, foot - size * 0.53), (left, ridge), (x + size * 0.03, foot - size * 0.53)]
    canvas.paint(Stencil().stroke(eave, size * 0.075), mix(roof, palette.ink, 0.25))
    _openings(canvas, scene, x, foot, size)


def _front(canvas: Canvas, x: float, foot: float, size: float, wall: Color) -> None:
    gable = [(x - size * 0.82, foot), (x - size * 0.82, foot - size * 0.58), (x - size * 0.42, foot - size * 1.1),
             (x, foot - size * 0.58), (x, foot)]  # fmt: skip
    canvas.paint(Stencil(gable), wall)


def _openings(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    glow = rgb("ffd27a")
    windows = Stencil()
    for u, v in ((0.22, 0.42), (0.6, 0.42), (0.9, 0.42), (-0.68, 0.42)):
        windows.bar(x + size * u, foot - size * v, x + size * (u + 0.16), foot - size * (v - 0.22))
    windows.bar(x - size * 0.49, foot - size * 0.86, x - size * 0.35, foot - size * 0.68)
    security = Stencil().bar(x - size * 0.4, foot - size * 0.42, x - size * 0.2, foot)
    if scene.palette.dark or scene.reading.hour is not None or scene.snowy:
        canvas.paint(windows, glow)
        canvas.glow(x + size * 0.2, foot - size * 0.4, size * 2.2, glow, 0.3)
    else:
        canvas.paint(windows, mix(scene.palette.zenith, scene.palette.ink, 0.45))
    canvas.paint(security, mix(scene.palette.accent, scene.palette.ink, 0.35))


def _smoke(canvas: Canvas, scene: Scene, x: float, y: float, size: float) -> None:
    dice, puffs = scene.dice("chimney"), Stencil()
    for i in range(16):
        t = i / 15
        puffs.disc(
            x + size * (0.75 * t * t + dice.between(-0.05, 0.05)), y - size * 1.25 * t, size * (0.035 + 0.11 * t)
        )
    canvas.paint(puffs, mix(scene.palette.haze, scene.palette.paper, 0.4), 0.42, soften=size * 0.06)


def lighthouse(canvas: Canvas, scene: Scene) -> None:
    """A banded tower on a rock, its beam in the air when it is dark enough."""
    palette, unit = scene.palette, canvas.unit
    side = scene.side
    x = canvas.width * (0.5 + side * 0.2)
    base = canvas.height * (scene.horizon + 0.03)
    tall = min(unit * 0.44, base * 0.72)
    top = base - tall
    stone = mix(palette.ink, palette.land, 0.22)
    lamp = (x, top - tall * 0.075)
    dim = palette.dark or scene.reading.hour in ("dusk", "night", "dawn") or "storm" in scene.reading.moods
    if dim:
        _beam(canvas, scene, lamp, -side)
    _cliff(canvas, scene, (x, base), side, stone)
    wall = mix(palette.paper, palette.light, 0.2)
    band = scene.tint("lighthouse", mix(palette.accent, rgb("b8322c"), 0.6))
    if palette.dark or "storm" in scene.reading.moods:
        wall, band = mix(wall, palette.zenith, 0.28), mix(band, palette.ink, 0.2)
    _tower(canvas, x, base, tall, (wall, band, palette.ink), -side if scene.light_x * canvas.width < x else side)
    if dim:
        canvas.glow(*lamp, tall * 0.7, rgb("fff0b8"), 0.75)
    canvas.paint(Stencil().disc(*lamp, tall * 0.026), rgb("fff6d8"))


def _cliff(canvas: Canvas, scene: Scene, at: Point, side: int, stone: Color) -> None:
    """Rock that falls to the water in ledges, each catching some light, with foam at its foot."""
    (x, base), palette, unit, dice = at, scene.palette, canvas.unit, scene.dice("cliff")
    outer, deep = x + side * canvas.width, canvas.height * 1.02
    toe = (x - side * unit * 0.42, canvas.height * 0.97)
    brim = [*jagged(toe, (x - side * unit * 0.2, base + unit * 0.1), dice, roughness=0.22),
            *jagged((x - side * unit * 0.15, base + unit * 0.03), (x - side * unit * 0.08, base), dice, roughness=0.2),
            *jagged((x + side * unit * 0.1, base), (outer, base + unit * 0.09), dice, roughness=0.05)]  # fmt: skip
    foam = [(u - side * unit * dice.between(0.004, 0.02), v + unit * 0.012) for u, v in brim[:33]]
    canvas.paint(Stencil([*foam, (toe[0] + side * unit * 0.3, deep)]), mix(palette.paper, palette.haze, 0.35), 0.8)
    shade = Gradient(
        top=mix(stone, palette.haze, 0.16), bottom=mix(palette.ink, stone, 0.2), start=base, end=canvas.height
    )
    canvas.paint(Stencil([*brim, (outer, deep), (toe[0] - side * unit * 0.02, deep)]), shade)
    cut = Stencil([*brim, (outer, deep), (toe[0], deep)]).cut(canvas.width, canvas.height)
    if cut is not None:
        (left, top, right, bottom), mask = cut
        strata = cells(dice, right - left, bottom - top, unit * 0.2, unit * 0.022)
        canvas.blend(mix(stone, palette.haze, 0.34), mask * smooth(0.1, 0.5, strata) * 0.24, (left, top, right, bottom))
        canvas.blend(palette.ink, mask * smooth(0.2, 0.4, -strata) * 0.4, (left, top, right, bottom))


def _tower(canvas: Canvas, x: float, base: float, tall: float, tones: tuple[Color, Color, Color], lit: int) -> None:
    wall, band, ink = tones
    foot, head = tall * 0.115, tall * 0.068

    def half(t: float) -> float:
        return foot + (head - foot) * t

    def slab(a: float, b: float) -> list[tuple[float, float]]:
        return [
            (x - half(a), base - tall * a),
            (x - half(b), base - tall * b),
            (x + half(b), base - tall * b),
            (x + half(a), base - tall * a),
        ]

    canvas.paint(Stencil(slab(0, 1)), wall)
    canvas.paint(Stencil(slab(0.14, 0.34), slab(0.54, 0.74)), band)
    dark = Stencil(
        [
            (x - lit * half(0) * 0.15, base),
            (x - lit * half(1) * 0.15, base - tall),
            (x - lit * half(1), base - tall),
            (x - lit * half(0), base),
        ]
    )
    canvas.paint(dark, ink, 0.38)
    top = base - tall
    gallery = Stencil().bar(x - head * 1.55, top - tall * 0.018, x + head * 1.55, top + tall * 0.012)
    gallery.bar(x - head * 0.72, top - tall * 0.13, x - head * 0.6, top).bar(
        x + head * 0.6, top - tall * 0.13, x + head * 0.72, top
    )
    gallery.shape(
        [(x - head * 1.05, top - tall * 0.125), (x, top - tall * 0.215), (x + head * 1.05, top - tall * 0.125)]
    )
    gallery.bar(x - head * 0.05, top - tall * 0.26, x + head * 0.05, top - tall * 0.2)
    canvas.paint(
        Stencil().bar(x - head * 0.65, top - tall * 0.13, x + head * 0.65, top), mix(wall, (1.0, 0.85, 0.5), 0.5)
    )
    canvas.paint(gallery, mix(ink, band, 0.15))
    canvas.paint(Stencil().bar(x - head * 0.25, base - tall * 0.46, x + head * 0.2, base - tall * 0.4), ink, 0.8)


def _beam(canvas: Canvas, scene: Scene, lamp: tuple[float, float], way: int) -> None:
    """Two cones of light that fade with the distance from the lamp."""
    x, y = lamp
    for side, reach, strength in ((way, canvas.width * 1.1, 0.62), (-way, canvas.width * 0.5, 0.36)):
        cone = Stencil(
            [(x, y - 1), (x + side * reach, y - reach * 0.13), (x + side * reach, y + reach * 0.02), (x, y + 1)]
        )
        cut = cone.cut(canvas.width, canvas.height, canvas.unit * 0.006)
        if cut is not None:
            (left, top, right, bottom), mask = cut
            fade = 1 - smooth(0.0, 1.0, abs(canvas.columns[:, left:right] - x) / reach)
            canvas.blend(
                mix(scene.palette.light, rgb("ffe9a8"), 0.4), mask * fade * strength, (left, top, right, bottom)
            )
