"""Trees: conifer woods in rows, one broad crown alone, palms."""

from dataclasses import dataclass

from services.generator.adapters.providers.procedural.drawing.layers import land
from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, lift, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, direction, ring, spline
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice
from services.generator.adapters.providers.procedural.drawing.paint.noise import Line, profile
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene

_MAX_PER_ROW = 130
_AUTUMN = ("c8572a", "e08a2e", "a83a2a", "d9a93a")


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row of trees."""

    near: float
    """Nearness: 0 is far, 1 is near."""
    tall: float
    """Height of the trees in pixels."""
    edge: Line
    """The ground under the trees, as one row for each column."""
    tones: tuple[Color, ...]
    """Colours of the trees."""
    dice: Dice
    """Random numbers of the row."""


def forest(canvas: Canvas, scene: Scene) -> None:
    """Rows of trees that come nearer; before a lake or the sea they stay on the far shore."""
    far_only = scene.shows("lake", "sea", "waves")
    count = 2 if far_only else 4
    rows = [_row(canvas, scene, index, count, far_only=far_only) for index in range(count)]
    for row in rows:
        top = float(row.edge.min())
        tone = scene.far(scene.ground, 0.4 * (1 - row.near)) if scene.snowy else row.tones[0]
        canvas.fill_under(
            row.edge, Gradient(top=tone, bottom=scene.far(tone, 0.3 * (1 - row.near)), start=top, end=top + row.tall)
        )
    banks: list[tuple[list[Point], list[Point]]] = []
    for name, paint in (("river", land.river), ("road", land.road)):
        if scene.shows(name) and not far_only:
            paint(canvas, scene)
            banks.append(land.course(canvas, scene, name))
    for row in rows:
        _stand(canvas, scene, row, banks)


def _row(canvas: Canvas, scene: Scene, index: int, count: int, *, far_only: bool) -> _Row:
    near, dice = (index + 1) / count, scene.dice(f"wood {index}")
    level = scene.horizon + (0.012 * index + 0.01 if far_only else (1.02 - scene.horizon) * (near**1.5) * 0.9)
    tall = canvas.unit * (0.05 + 0.03 * near if far_only else 0.06 + 0.2 * near**1.4)
    roll = profile(dice, canvas.width, canvas.width * 0.4, octaves=2) * canvas.height * (0.008 if far_only else 0.035)
    leaf = scene.tint("forest", mix(scene.palette.land, rgb("1f5b45"), 0.15 if scene.palette.dark else 0.3))
    leaves = [rgb(code) for code in _AUTUMN] if _leafy(scene) and "forest" not in scene.reading.tints else [leaf]
    depth = 0.62 * (1 - near) + (0.15 if far_only else 0.0)
    dark = (0.1 + 0.4 * near) if len(leaves) > 1 else (0.2 + 0.65 * near)
    if scene.palette.dark:
        dark = 0.3 + 0.55 * near
    tones = tuple(scene.far(mix(tone, scene.palette.ink, dark), depth) for tone in leaves)
    return _Row(near=near, tall=tall, edge=canvas.height * level + roll, tones=tones, dice=dice)


def _leafy(scene: Scene) -> bool:
    return scene.reading.season == "autumn" and not scene.reading.words & {"pine", "fir", "spruce", "conifer", "taiga"}


def _stand(canvas: Canvas, scene: Scene, row: _Row, banks: list[tuple[list[Point], list[Point]]]) -> None:
    stands, trunks = [Stencil() for _ in row.tones], Stencil()
    tall, dice, x = row.tall, row.dice, -row.tall * 0.2
    for _ in range(_MAX_PER_ROW):
        if x > canvas.width + tall * 0.2:
            break
        foot = float(row.edge[int(min(canvas.width - 1, max(0, x)))]) + tall * 0.04
        high, stand = tall * dice.between(0.55, 1.15), dice.pick(stands)
        if not _in_the_way(x, foot, tall * 0.14, banks):
            if len(stands) > 1:
                stand.shape(crown(x, foot, high, dice))
                trunks.bar(x - high * 0.02, foot - high * 0.4, x + high * 0.02, foot)
            else:
                stand.shape(conifer(x, foot, high, dice))
        x += tall * dice.between(0.16, 0.42)
    start = float(row.edge.min()) - tall
    canvas.paint(trunks, mix(row.tones[0], scene.palette.ink, 0.5))
    for stand, tone in zip(stands, row.tones, strict=True):
        shade = Gradient(
            top=lift(tone, 0.03), bottom=scene.far(tone, 0.4 * (1 - row.near)), start=start, end=start + tall * 1.8
        )
        canvas.paint(stand, shade)


def _in_the_way(x: float, foot: float, margin: float, banks: list[tuple[list[Point], list[Point]]]) -> bool:
    for left, right in banks:
        for (a, y), (b, _) in zip(left, right, strict=True):
            if y >= foot:
                if a - margin < x < b + margin:
                    return True
                break
    return False


def crown(x: float, foot: float, tall: float, dice: Dice) -> list[Point]:
    """The outline of a broad-leaved tree."""
    knots = []
    for i in range(11):
        u, v = direction(i / 11)
        swell = dice.between(0.82, 1.12)
        knots.append((x + u * tall * 0.25 * swell, foot - tall * 0.62 + v * tall * 0.36 * swell))
    return spline(knots, steps=4)


def conifer(x: float, foot: float, tall: float, dice: Dice) -> list[Point]:
    """The outline of a fir whose tiers hang a little unevenly."""
    tiers = 7
    left: list[Point] = [(x, foot - tall)]
    right: list[Point] = []
    for i in range(1, tiers + 1):
        y = foot - tall + tall * 0.92 * i / tiers
        half = tall * 0.2 * (i / tiers) ** 0.85
        left += [(x - half * dice.between(0.85, 1.15), y), (x - half * 0.45, y - tall * 0.012)]
        right += [(x + half * dice.between(0.85, 1.15), y), (x + half * 0.45, y - tall * 0.012)]
    trunk = tall * 0.022
    return [
        *left,
        (x - trunk, foot - tall * 0.08),
        (x - trunk, foot),
        (x + trunk, foot),
        (x + trunk, foot - tall * 0.08),
        *right[::-1],
    ]


def tree(canvas: Canvas, scene: Scene) -> None:
    """One broad tree on the near ground, its crown lit from the side of the light."""
    dice = scene.dice("tree")
    x = canvas.width * (0.5 + 0.18 * scene.beside("cat", "fox", "dog", "house"))
    foot = float(scene.near_edge(canvas)[int(x)]) + canvas.unit * 0.02
    tall = min(canvas.unit * 0.58, foot * 0.8)
    leaf = scene.tint("tree", _leaf(scene))
    bark = mix(scene.palette.ink, leaf, 0.12)
    tips: list[Point] = []
    wood = Stencil()
    _branch(wood, tips, dice, (x, foot), (-0.25 + dice.between(-0.02, 0.02), tall * 0.34, tall * 0.062), 5)
    canvas.paint(wood, bark)
    if not scene.snowy:
        _crown(canvas, scene, dice, tips, tall, leaf)


def _leaf(scene: Scene) -> Color:
    words = scene.reading.words
    if words & {"cherryblossom", "sakura", "blossom"}:
        return rgb("f2a9c0")
    if scene.reading.season == "autumn":
        return rgb("d9632a")
    return mix(scene.palette.land, rgb("3f7d4a"), 0.25 if scene.palette.dark else 0.55)


def _branch(
    wood: Stencil, tips: list[Point], dice: Dice, foot: Point, limb: tuple[float, float, float], levels: int
) -> None:
    turns, length, thick = limb
    u, v = direction(turns)
    tip = (foot[0] + u * length, foot[1] + v * length)
    half, end = thick / 2, thick * 0.34
    wood.shape([(foot[0] - v * half, foot[1] + u * half), (tip[0] - v * end, tip[1] + u * end),
                (tip[0] + v * end, tip[1] - u * end), (foot[0] + v * half, foot[1] - u * half)])  # fmt: skip
    wood.disc(*tip, end)
    if levels <= 3:
        tips.append(tip)
    if levels == 0:
        return
    for side in (-1, 1) if levels != 4 else (-1, 0, 1):
        bend = side * dice.between(0.05, 0.105) + dice.between(-0.015, 0.015)
        _branch(wood, tips, dice, tip, (turns + bend, length * dice.between(0.62, 0.8), thick * 0.66), levels - 1)


def _crown(canvas: Canvas, scene: Scene, dice: Dice, tips: list[Point], tall: float, leaf: Color) -> None:
    side = 1 if scene.light_x > 0.5 else -1
    dark = mix(leaf, scene.palette.ink, 0.5)
    for tone, shift, size, share in (
        (dark, -0.02, 0.07, 1.0),
        (leaf, 0.0, 0.052, 0.95),
        (lift(leaf, 0.09), 0.028, 0.03, 0.6),
    ):
        tufts = Stencil()
        for x, y in tips:
            for _ in range(3):
                radius = tall * size * dice.between(0.5, 1.1)
                u, v = dice.between(-0.05, 0.05), dice.between(-0.05, 0.05)
                if dice.chance(share):
                    position = (x + (u + shift * side) * tall, y + (v - abs(shift)) * tall)
                    tufts.shape(ring(*position, radius, radius * 0.8, turned=dice.between(-0.1, 0.1), points=9))
        canvas.paint(tufts, tone, 0.94)


def palms(canvas: Canvas, scene: Scene) -> None:
    """Two or three palms that lean over the shore."""
    dice, side = scene.dice("palms"), scene.side
    tone = mix(scene.tint("palm", scene.palette.land), scene.palette.ink, 0.72)
    edge = scene.near_edge(canvas)
    wood, leaves = Stencil(), Stencil()
    for index in range(dice.whole(2, 3)):
        x = canvas.width * (0.5 + side * (0.26 + 0.1 * index))
        foot = float(edge[int(min(canvas.width - 1, max(0, x)))]) + canvas.unit * 0.02
        tall = canvas.unit * dice.between(0.42, 0.62)
        lean = -side * tall * dice.between(0.1, 0.32)
        top = (x + lean, foot - tall)
        stem = spline(
            [(x, foot), (x + lean * 0.2, foot - tall * 0.4), (x + lean * 0.6, foot - tall * 0.78), top], closed=False
        )
        for i, point in enumerate(stem):
            wood.disc(*point, tall * (0.022 - 0.010 * i / len(stem)))
        wood.stroke(stem, tall * 0.024)
        for frond in range(9):
            _frond(
                leaves,
                dice,
                top,
                0.5 + (frond + dice.between(-0.3, 0.3)) / 8 * 0.5 + 0.0,
                tall * dice.between(0.36, 0.5),
            )
    canvas.paint(wood, tone)
    canvas.paint(leaves, tone)


def _frond(leaves: Stencil, dice: Dice, base: Point, turns: float, long: float) -> None:
    u, v = direction(turns)
    x, y = base
    knots = [(0.0, 0.0), (0.45, -0.1), (0.85, 0.02), (1.1, 0.3)]
    falls = (0.0, 0.45, 0.55, 0.45)
    bow = [(x + u * long * a, y + (v * fall + b) * long) for (a, b), fall in zip(knots, falls, strict=True)]
    bow = spline(bow, closed=False, steps=6)
    leaves.stroke(bow, long * 0.02)
    for i, (x, y) in enumerate(bow[1:]):
        reach = long * 0.2 * (1 - (2 * i / len(bow) - 0.8) ** 2) + long * 0.03
        for ahead, drop in ((0.9, 0.75), (1.0, -0.35), (0.35, 1.0)):
            leaves.shape(
                [(x - u * long * 0.03, y), (x + u * reach * ahead, y + reach * drop), (x + u * long * 0.03, y)]
            )
