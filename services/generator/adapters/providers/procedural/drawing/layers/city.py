"""Skylines: blocks of towers in the haze, lit windows, signs."""

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient
from services.generator.adapters.providers.procedural.drawing.paint.colour import lift, mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene

_MAX_WINDOWS = 2600
_NEON = ("ff3fa4", "2ee6e0", "ffd166", "9b5cff")

Tower = tuple[float, float, float, str]


def skyline(canvas: Canvas, scene: Scene) -> None:
    """Three depths of towers; the nearest stand on the image's foot unless water lies before them."""
    wet = wet_street(scene)
    if scene.palette.dark:
        spread = canvas.unit * 0.95
        canvas.glow(canvas.width * scene.light_x, canvas.height * scene.horizon, spread, scene.palette.horizon, 0.9)
    for index in range(3):
        near = index / 2
        dice = scene.dice(f"city {index}")
        base = canvas.height * (scene.horizon + (0.02 if wet else 0.02 + (0.99 - scene.horizon) * near))
        towers = _towers(canvas, dice, base, near, wet=wet)
        block = mix(
            scene.tint("city", mix(scene.palette.land, scene.palette.zenith, 0.3)), scene.palette.ink, 0.25 + 0.6 * near
        )
        body = scene.far(block, 0.68 * (1 - near))
        top = min(top for _, top, _, _ in towers)
        foot = scene.far(body, 0.55 - 0.3 * near)
        walls = Stencil()
        for tower in towers:
            _wall(walls, tower, base, canvas.unit)
        canvas.paint(walls, Gradient(top=body, bottom=foot, start=top, end=base))
        _sides(canvas, scene, towers, base, near)
        _windows(canvas, scene, dice, towers, base, near)
        if not wet:
            canvas.paint(Stencil().bar(-1, base, canvas.width + 1, canvas.height + 1), foot)


def wet_street(scene: Scene) -> bool:
    """Whether the city is mirrored at its foot, by a river or by rain."""
    return scene.shows("river", "sea", "lake", "rain") or "neon" in scene.reading.moods


def _towers(canvas: Canvas, dice: Dice, base: float, near: float, *, wet: bool) -> list[Tower]:
    towers: list[Tower] = []
    x = -canvas.unit * 0.05
    tallest = min(canvas.height * (0.5 - 0.12 * near if wet else 0.46), base * 0.85)
    while x < canvas.width and len(towers) < 90:
        wide = canvas.unit * dice.between(0.045, 0.1) * (0.8 + 0.5 * near)
        # Heights gather around the middle, as cities do.
        middle = 1 - abs(x + wide / 2 - canvas.width / 2) / canvas.width
        tall = tallest * dice.between(0.32, 1.0) * (0.45 + 0.6 * middle)
        towers.append((x, base - tall, wide, dice.pick(["flat", "flat", "step", "mast", "slant", "crown"])))
        x += wide * dice.between(0.85, 1.25)
    return towers


def _wall(walls: Stencil, tower: Tower, base: float, unit: float) -> None:
    x, top, wide, roof = tower
    walls.bar(x, top, x + wide, base + 1)
    if roof == "step":
        walls.bar(x + wide * 0.15, top - wide * 0.3, x + wide * 0.85, top + 1)
        walls.bar(x + wide * 0.3, top - wide * 0.6, x + wide * 0.7, top)
    elif roof == "mast":
        walls.bar(x + wide * 0.46, top - wide * 1.1, x + wide * 0.46 + max(1.0, unit * 0.003), top + 1)
        walls.bar(x + wide * 0.3, top - wide * 0.14, x + wide * 0.7, top + 1)
    elif roof == "slant":
        walls.shape([(x, top + 1), (x, top - wide * 0.5), (x + wide, top + 1)])
    elif roof == "crown":
        walls.shape([(x + wide * 0.1, top + 1), (x + wide * 0.5, top - wide * 0.9), (x + wide * 0.9, top + 1)])


def _sides(canvas: Canvas, scene: Scene, towers: list[Tower], base: float, near: float) -> None:
    """The flank that faces the light is paler."""
    flanks = Stencil()
    for x, top, wide, _ in towers:
        right = scene.light_x * canvas.width > x
        flanks.bar(*((x + wide * 0.72, top, x + wide, base) if right else (x, top, x + wide * 0.28, base)))
    glow = mix(scene.palette.horizon, scene.palette.light, 0.3)
    canvas.paint(flanks, glow, 0.08 + 0.1 * near)


def _windows(canvas: Canvas, scene: Scene, dice: Dice, towers: list[Tower], base: float, near: float) -> None:
    dark = scene.palette.dark
    lit, odd = Stencil(), Stencil()
    size = canvas.unit * (0.0055 + 0.0035 * near)
    remaining = _MAX_WINDOWS
    for x, top, wide, _ in towers:
        columns = max(2, int(wide / (size * 2.3)))
        pitch = wide / columns
        style = dice.between(0.25, 0.7) if dark else 0.5
        for row in range(int((base - top) / (size * 2.6))):
            for column in range(columns):
                if remaining and dice.chance(style):
                    u, v = x + pitch * (column + 0.28), top + size * (1.2 + row * 2.6)
                    (odd if dice.chance(0.1) else lit).bar(u, v, u + pitch * 0.46, v + size * 1.3)
                    remaining -= 1
    if dark:
        canvas.paint(lit, scene.lit, 0.5 + 0.4 * near)
        canvas.paint(odd, scene.palette.accent, 0.8)
        canvas.paint(lit, scene.lit, 0.35, soften=size * 1.2)
        if "neon" in scene.reading.moods and near > 0.3:
            _signs(canvas, dice, towers)
    else:
        canvas.paint(lit, lift(scene.palette.horizon, 0.03), 0.28)
        canvas.paint(odd, scene.palette.ink, 0.3)


def _signs(canvas: Canvas, dice: Dice, towers: list[Tower]) -> None:
    for x, top, wide, _ in towers:
        if dice.chance(0.55):
            color = rgb(dice.pick(_NEON))
            sign, high = Stencil(), wide * dice.between(0.8, 2.2)
            u, v = x + wide * dice.between(0.1, 0.7), top + wide * dice.between(0.2, 0.8)
            if dice.chance(0.5):
                sign.bar(u, v, u + wide * 0.16, v + high)
            else:
                for line in range(3):
                    sign.bar(
                        x + wide * 0.1, v + line * wide * 0.18, x + wide * 0.9, v + line * wide * 0.18 + wide * 0.06
                    )
            canvas.paint(sign, color, 0.9, soften=canvas.unit * 0.012)
            canvas.paint(sign, lift(color, 0.12))
