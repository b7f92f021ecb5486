"""Flowers: one bloom at hand, or a meadow full."""

from dataclasses import dataclass

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient, Radial
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, lift, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, direction, petal, ring, spline
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene

_GOLDEN_TURN = 0.381966


@dataclass(frozen=True, kw_only=True)
class Species:
    """A bloom seen from above; lengths are multiples of its radius."""

    whorls: tuple[tuple[int, float, float], ...]
    """Rings of petals, the outermost first: number, length, width."""
    blunt: float
    """Where a petal is widest, as a share of its length."""
    heart: float
    """Radius of the heart."""
    heart_color: str
    """Colour of the heart, as six hexadecimal digits."""
    inner: float
    """Change of lightness at a petal's inner end."""


_POPPY = Species(whorls=((4, 1.0, 1.35), (4, 0.82, 1.1)), blunt=0.74, heart=0.2, heart_color="23301f", inner=-0.2)
_DAISY = Species(whorls=((17, 1.0, 0.24), (15, 0.92, 0.22)), blunt=0.74, heart=0.28, heart_color="e8a91c", inner=-0.1)
_SUNFLOWER = Species(
    whorls=((20, 1.0, 0.27), (18, 0.88, 0.25)), blunt=0.5, heart=0.44, heart_color="4a2a14", inner=-0.16
)
_ROSE = Species(
    whorls=((6, 1.0, 0.95), (6, 0.82, 0.8), (5, 0.64, 0.7), (5, 0.46, 0.56), (4, 0.3, 0.42), (3, 0.17, 0.3)),
    blunt=0.74, heart=0.03, heart_color="5a1424", inner=-0.2,
)  # fmt: skip
_LOTUS = Species(
    whorls=((10, 1.0, 0.4), (9, 0.8, 0.36), (8, 0.56, 0.28)), blunt=0.55, heart=0.14, heart_color="e0b23c", inner=0.12
)
_SPECIES = {
    "poppy": _POPPY,
    "anemone": _POPPY,
    "orchid": _POPPY,
    "daisy": _DAISY,
    "chrysanthemum": _DAISY,
    "sunflower": _SUNFLOWER,
    "rose": _ROSE,
    "peony": _ROSE,
    "dahlia": _LOTUS,
    "lotus": _LOTUS,
    "lily": _LOTUS,
}
#: A tulip's petals as (direction in turns, length, width, lightness), the far ones first.
_TULIP = (
    (-0.31, 1.28, 0.62, -0.07),
    (-0.19, 1.28, 0.62, -0.07),
    (-0.25, 1.36, 0.7, -0.02),
    (-0.335, 1.2, 0.6, 0.0),
    (-0.165, 1.2, 0.6, 0.0),
    (-0.25, 1.16, 0.78, 0.04),
)


def macro(canvas: Canvas, scene: Scene) -> None:
    """One bloom close up before lights out of focus."""
    dice, palette = scene.dice("bloom"), scene.palette
    _bokeh(canvas, scene)
    x = canvas.width * (0.5 + dice.between(-0.06, 0.06))
    y, radius = canvas.height * 0.42, canvas.unit * 0.33
    color = scene.tint("flower", palette.accent)
    if scene.reading.words & {"tulip", "tulips"}:
        _stem(canvas, scene, (x, y + radius * 0.3), radius)
        _cup(canvas, scene, dice, (x, y + radius * 0.75), radius, color)
        return
    _stem(canvas, scene, (x, y), radius)
    known = next(
        (
            _SPECIES[w]
            for word in sorted(scene.reading.words)
            for w in (word, word.removesuffix("s"), word.replace("ies", "y"))
            if w in _SPECIES
        ),
        None,
    )
    _bloom(canvas, scene, dice, (x, y), radius, color, known or dice.pick([_POPPY, _DAISY, _LOTUS]))


def _bokeh(canvas: Canvas, scene: Scene) -> None:
    dice, palette = scene.dice("bokeh"), scene.palette
    green = mix(palette.land, rgb("6fa566"), 0.3 if palette.dark else 0.7)
    base = mix(green, palette.ink, 0.12)
    canvas.blend(
        Gradient(
            top=lift(mix(palette.horizon, palette.sky, 0.25), 0.02), bottom=base, start=0, end=canvas.height * 0.95
        ),
        1.0,
    )
    for size, count, opacity in ((0.2, 7, 0.26), (0.11, 16, 0.32), (0.05, 22, 0.42)):
        for tone in (palette.light, palette.horizon, lift(green, 0.12)):
            lights = Stencil()
            for _ in range(count // 3 + 1):
                lights.disc(
                    dice.between(0, 1) * canvas.width,
                    dice.between(-0.05, 0.85) * canvas.height,
                    canvas.unit * size * dice.between(0.6, 1.2),
                )
            canvas.paint(lights, tone, opacity, soften=canvas.unit * (0.004 + size * 0.06))


def _stem(canvas: Canvas, scene: Scene, head: Point, radius: float) -> None:
    x, y = head
    green = mix(mix(scene.palette.land, rgb("3f8a45"), 0.85), scene.palette.ink, 0.12)
    foot = canvas.height * 1.05
    line = spline([(x, y), (x + radius * 0.06, y + (foot - y) * 0.5), (x - radius * 0.12, foot)], closed=False)
    for side, position, long in ((1, 0.62, 1.15), (-1, 0.78, 1.0)):
        root = (x, y + (foot - y) * position)
        leaf = petal(*root, radius * long, radius * 0.42, -0.09 if side > 0 else -0.41, blunt=0.5)
        canvas.paint(Stencil(leaf), Gradient(top=lift(green, 0.1), bottom=green, start=root[1] - radius, end=root[1]))
        u, v = direction(-0.09 if side > 0 else -0.41)
        canvas.paint(
            Stencil().stroke(
                [root, (root[0] + u * radius * long * 0.9, root[1] + v * radius * long * 0.9)], radius * 0.012
            ),
            lift(green, 0.16),
            0.7,
        )
    canvas.paint(Stencil().stroke(line, radius * 0.075), green)
    canvas.paint(Stencil().stroke([(u - radius * 0.018, v) for u, v in line], radius * 0.018), lift(green, 0.14), 0.7)


def _bloom(canvas: Canvas, scene: Scene, dice: Dice, at: Point, radius: float, color: Color, kind: Species) -> None:
    start = dice.between(0, 1)
    for index, (count, length, width) in enumerate(kind.whorls):
        tone = lift(mix(color, scene.palette.ink, 0.05 * index if kind is _ROSE else 0.0), 0.025 * (index - 1))
        for i in range(count):
            turned = start + (i + 0.5 * index + dice.between(-0.12, 0.12)) / count
            long = radius * length * dice.between(0.92, 1.05)
            outline = petal(*at, long, radius * width * dice.between(0.92, 1.08) * length, turned, blunt=kind.blunt)
            _petal(canvas, scene, dice, at, outline, long, tone, kind.inner)
    _heart(canvas, dice, at, radius * kind.heart, rgb(kind.heart_color), kind)


def _petal(
    canvas: Canvas, scene: Scene, dice: Dice, at: Point, outline: list[Point], long: float, color: Color, inner: float
) -> None:
    tone = lift(color, dice.between(-0.035, 0.035))
    shadow = [(x + long * 0.012, y + long * 0.03) for x, y in outline]
    canvas.paint(Stencil(shadow), mix(color, scene.palette.ink, 0.7), 0.3, soften=long * 0.018)
    canvas.paint(Stencil(outline), Radial(centre=at, inner=lift(tone, inner), outer=lift(tone, 0.05), radius=long))
    veins, tip = Stencil(), outline[len(outline) // 2]
    for side in (-0.5, -0.25, 0.0, 0.25, 0.5):
        edge = outline[int(len(outline) * (0.5 + side * 0.34))]
        end = (at[0] + (edge[0] - at[0]) * 0.92, at[1] + (edge[1] - at[1]) * 0.92)
        middle = (
            at[0] + (tip[0] - at[0]) * 0.45 + (edge[0] - tip[0]) * 0.3,
            at[1] + (tip[1] - at[1]) * 0.45 + (edge[1] - tip[1]) * 0.3,
        )
        veins.stroke(spline([at, middle, end], closed=False, steps=4), long * 0.006)
    canvas.paint(veins, lift(tone, -0.12), 0.35)


def _heart(canvas: Canvas, dice: Dice, at: Point, radius: float, color: Color, kind: Species) -> None:
    canvas.paint(Stencil().disc(*at, radius * 1.25), lift(color, -0.1), 0.5, soften=radius * 0.15)
    canvas.paint(
        Stencil().disc(*at, radius),
        Radial(
            centre=(at[0] - radius * 0.3, at[1] - radius * 0.3),
            inner=lift(color, 0.08),
            outer=lift(color, -0.05),
            radius=radius * 1.4,
        ),
    )
    if kind is _ROSE:
        return
    seeds, pale = Stencil(), Stencil()
    reach = 1.9 if kind in (_POPPY, _LOTUS) else 0.97
    for i in range(150):
        u, v = direction(i * _GOLDEN_TURN)
        away = radius * reach * ((i + 0.5) / 150) ** 0.5
        (pale if dice.chance(0.35) else seeds).disc(at[0] + u * away, at[1] + v * away, radius * 0.05)
    canvas.paint(seeds, lift(color, -0.12 if kind is _DAISY else 0.12), 0.85)
    canvas.paint(pale, lift(color, 0.22), 0.85)


def _cup(canvas: Canvas, scene: Scene, dice: Dice, base: Point, radius: float, color: Color) -> None:
    """A tulip from the side: the far petals first, the near one last."""
    for turned, long, wide, tone in _TULIP:
        outline = petal(*base, radius * long, radius * wide, turned + dice.between(-0.008, 0.008), blunt=0.42)
        _petal(canvas, scene, dice, base, outline, radius * long, lift(color, tone), -0.12)


def meadow(canvas: Canvas, scene: Scene) -> None:
    """Blossoms over the ground, small and dense far off, with stems and petals at hand."""
    dice, palette = scene.dice("meadow"), scene.palette
    first = scene.tint("flower", scene.tint("meadow", palette.accent))
    tones = [first, lift(first, 0.08), mix(first, palette.light, 0.55)]
    top = canvas.height * (scene.horizon + 0.08)
    for step in range(6):
        near = (step + 0.5) / 6
        y = top + (canvas.height * 1.02 - top) * near**1.5
        if near > 0.45:
            _stalks(canvas, scene, dice, y, near)
        for tone in tones:
            heads = Stencil()
            for _ in range(int(60 * (1.25 - near) * min(3.0, canvas.width / canvas.unit))):
                size = canvas.unit * (0.0022 + 0.016 * near**1.6) * dice.between(0.6, 1.25)
                x, v = (
                    dice.between(0, 1) * canvas.width,
                    y + dice.between(-0.5, 0.5) * (canvas.height - top) * 0.2 * (0.3 + near),
                )
                _head(heads, dice, x, v, size, fine=near > 0.55)
            canvas.paint(heads, scene.far(tone, 0.35 * (1 - near)), 0.95)


def _head(heads: Stencil, dice: Dice, x: float, y: float, size: float, *, fine: bool) -> None:
    if not fine:
        heads.shape(ring(x, y, size, size * 0.7, points=8))
        return
    start = dice.between(0, 1)
    for i in range(5):
        u, v = direction(start + i / 5)
        heads.shape(ring(x + u * size * 0.55, y + v * size * 0.4, size * 0.5, size * 0.42, points=10))


def _stalks(canvas: Canvas, scene: Scene, dice: Dice, y: float, near: float) -> None:
    blades = Stencil()
    for _ in range(int(110 * min(3.0, canvas.width / canvas.unit))):
        x, tall = dice.between(0, 1) * canvas.width, canvas.unit * 0.11 * near * dice.between(0.4, 1.2)
        lean, half = tall * dice.between(-0.3, 0.3), canvas.unit * 0.0022 * near
        foot = y + canvas.unit * 0.06
        blades.shape([(x - half, foot), (x + lean, foot - tall), (x + half, foot)])
    canvas.paint(blades, mix(mix(scene.palette.land, rgb("3f7d3f"), 0.5), scene.palette.ink, 0.35), 0.85)
