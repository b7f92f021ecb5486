"""Trees: conifer woods in rows, one broad crown alone, palms."""

import numpy as np

from services.generator.adapters.procedural.canvas import Canvas, Gradient
from services.generator.adapters.procedural.colour import Color, lift, mix, rgb
from services.generator.adapters.procedural.curves import Point, direction, ring, spline
from services.generator.adapters.procedural.dice import Dice
from services.generator.adapters.procedural.noise import profile
from services.generator.adapters.procedural.scene import Scene
from services.generator.adapters.procedural.stencil import Stencil

_MOST_PER_ROW = 130


def forest(canvas: Canvas, scene: Scene) -> None:
    """Rows of conifers that come nearer; before a lake or the sea they stay on the far shore."""
    far_only = scene.shows("lake", "sea", "waves")
    leaf = scene.tint("forest", mix(scene.palette.land, rgb("1f5b45"), 0.15 if scene.palette.dark else 0.3))
    rows = 2 if far_only else 4
    for index in range(rows):
        near = (index + 1) / rows
        dice = scene.dice(f"wood {index}")
        level = scene.horizon + (0.012 * index + 0.01 if far_only else (1.02 - scene.horizon) * (near**1.5) * 0.9)
        tall = canvas.unit * (0.05 + 0.03 * near if far_only else 0.06 + 0.2 * near**1.4)
        roll = profile(dice, canvas.width, canvas.width * 0.4, octaves=2) * canvas.height * (0.008 if far_only else 0.035)
        edge = canvas.height * level + roll
        tone = scene.far(mix(leaf, scene.palette.ink, 0.2 + 0.65 * near), 0.62 * (1 - near) + (0.15 if far_only else 0.0))
        stand = Stencil()
        x = -tall * 0.2
        for _ in range(_MOST_PER_ROW):
            if x > canvas.width + tall * 0.2:
                break
            foot = float(edge[int(min(canvas.width - 1, max(0, x)))]) + tall * 0.04
            stand.shape(conifer(x, foot, tall * dice.between(0.55, 1.15), dice))
            x += tall * dice.between(0.16, 0.42)
        start = float(edge.min()) - tall
        shade = Gradient(top=tone, bottom=scene.far(tone, 0.4 * (1 - near)), start=start, end=start + tall * 1.8)
        canvas.fill_under(edge, shade)
        canvas.paint(stand, shade)
        if scene.snowy:
            _powder(canvas, scene, near, edge, tall)


def _powder(canvas: Canvas, scene: Scene, near: float, edge: np.ndarray[tuple[int], np.dtype[np.float64]], tall: float) -> None:
    white = scene.far(scene.ground, 0.3 * (1 - near))
    canvas.fill_under(edge + tall * 0.03, Gradient(top=white, bottom=scene.far(white, 0.25), start=float(edge.min()), end=canvas.height))


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
    return [*left, (x - trunk, foot - tall * 0.08), (x - trunk, foot), (x + trunk, foot), (x + trunk, foot - tall * 0.08), *right[::-1]]


def tree(canvas: Canvas, scene: Scene) -> None:
    """One broad tree on the near ground, its crown lit from the side of the light."""
    dice = scene.dice("tree")
    x = canvas.width * (0.34 if scene.light_x > 0.5 else 0.66)
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


def _branch(wood: Stencil, tips: list[Point], dice: Dice, foot: Point, limb: tuple[float, float, float], left: int) -> None:
    turns, length, thick = limb
    u, v = direction(turns)
    tip = (foot[0] + u * length, foot[1] + v * length)
    half, end = thick / 2, thick * 0.34
    wood.shape([(foot[0] - v * half, foot[1] + u * half), (tip[0] - v * end, tip[1] + u * end),
                (tip[0] + v * end, tip[1] - u * end), (foot[0] + v * half, foot[1] - u * half)])  # fmt: skip
    wood.disc(*tip, end)
    if left <= 3:
        tips.append(tip)
    if left == 0:
        return
    for side in (-1, 1) if left != 4 else (-1, 0, 1):
        bend = side * dice.between(0.05, 0.105) + dice.between(-0.015, 0.015)
        _branch(wood, tips, dice, tip, (turns + bend, length * dice.between(0.62, 0.8), thick * 0.66), left - 1)


def _crown(canvas: Canvas, scene: Scene, dice: Dice, tips: list[Point], tall: float, leaf: Color) -> None:
    side = 1 if scene.light_x > 0.5 else -1
    dark = mix(leaf, scene.palette.ink, 0.5)
    for tone, shift, size, share in ((dark, -0.02, 0.07, 1.0), (leaf, 0.0, 0.052, 0.95), (lift(leaf, 0.09), 0.028, 0.03, 0.6)):
        tufts = Stencil()
        for x, y in tips:
            for _ in range(3):
                radius = tall * size * dice.between(0.5, 1.1)
                u, v = dice.between(-0.05, 0.05), dice.between(-0.05, 0.05)
                if dice.chance(share):
                    place = (x + (u + shift * side) * tall, y + (v - abs(shift)) * tall)
                    tufts.shape(ring(*place, radius, radius * 0.8, turned=dice.between(-0.1, 0.1), points=9))
        canvas.paint(tufts, tone, 0.94)


def palms(canvas: Canvas, scene: Scene) -> None:
    """Two or three palms that lean over the shore."""
    dice, side = scene.dice("palms"), 1 if scene.light_x < 0.5 else -1
    tone = mix(scene.tint("palm", scene.palette.land), scene.palette.ink, 0.72)
    edge = scene.near_edge(canvas)
    wood, leaves = Stencil(), Stencil()
    for index in range(dice.whole(2, 3)):
        x = canvas.width * (0.5 + side * (0.26 + 0.1 * index))
        foot = float(edge[int(min(canvas.width - 1, max(0, x)))]) + canvas.unit * 0.02
        tall = canvas.unit * dice.between(0.42, 0.62)
        lean = -side * tall * dice.between(0.1, 0.32)
        top = (x + lean, foot - tall)
        stem = spline([(x, foot), (x + lean * 0.2, foot - tall * 0.4), (x + lean * 0.6, foot - tall * 0.78), top], closed=False)
        for i, point in enumerate(stem):
            wood.disc(*point, tall * (0.022 - 0.010 * i / len(stem)))
        wood.stroke(stem, tall * 0.024)
        for frond in range(9):
            _frond(leaves, dice, top, 0.5 + (frond + dice.between(-0.3, 0.3)) / 8 * 0.5 + 0.0, tall * dice.between(0.3, 0.42))
    canvas.paint(wood, tone)
    canvas.paint(leaves, tone)


def _frond(leaves: Stencil, dice: Dice, base: Point, turns: float, long: float) -> None:
    u, v = direction(turns)
    bow = spline([base, (base[0] + u * long * 0.45, base[1] + v * long * 0.45 - long * 0.1),
                  (base[0] + u * long * 0.85, base[1] + v * long * 0.6 + long * 0.12),
                  (base[0] + u * long, base[1] + v * long * 0.5 + long * 0.42)], closed=False, steps=6)  # fmt: skip
    leaves.stroke(bow, long * 0.02)
    for i, (x, y) in enumerate(bow[1:]):
        reach = long * 0.26 * (1 - i / len(bow)) + long * 0.06
        for drop in (0.5, 1.0):
            leaves.shape([(x, y - long * 0.012), (x + u * reach * drop, y + reach * drop), (x - u * long * 0.04, y + long * 0.012)])
