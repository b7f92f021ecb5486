"""Abstract images out of plain shapes: tiles, rings, bursts, facets."""

from collections.abc import Callable

from PIL import Image, ImageDraw

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas, Gradient
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, lift, luma, mix
from services.generator.adapters.providers.procedural.drawing.paint.curves import Point, direction, ring
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene

_MAX_TILES = 14
#: How much of a printed sheet stays white around the image, as a share of its shorter side.
MAT = 0.045


def inks(scene: Scene) -> list[Color]:
    """The colours that an abstract image is printed with: those that were said, then the palette's."""
    palette = scene.palette
    own = [palette.accent, palette.zenith, palette.horizon, palette.land, palette.ink, palette.sky]
    said = list(scene.reading.colours)
    return [*said, *[palette.ink, palette.paper][: 2 if len(said) > 1 else 0], *(own if len(said) < 2 else [])][:6]


def ground(scene: Scene) -> Color:
    """The sheet under an abstract image."""
    return mix(scene.palette.ink, scene.palette.zenith, 0.25) if scene.palette.dark else scene.palette.paper


def geometry(canvas: Canvas, scene: Scene) -> None:
    """A sheet of tiles with arcs, discs, bars and wedges, and one large figure over four of them."""
    dice, colors, sheet = scene.dice("geometry"), inks(scene), ground(scene)
    canvas.blend(sheet, 1.0)
    side = canvas.unit / (3 if scene.reading.framing == "minimal" else dice.pick([4, 5]))
    # A printed sheet has a mat: the tiles keep clear of it.
    margin = canvas.unit * (MAT if scene.reading.style in ("poster", "retro") else 0.0)
    across, down = canvas.width - 2 * margin, canvas.height - 2 * margin
    columns, rows = (min(_MAX_TILES, max(1, round(length / side))) for length in (across, down))
    wide, high = across / columns, down / rows
    hero = (dice.whole(0, max(0, columns - 2)), dice.whole(0, max(0, rows - 2)))
    for row in range(rows):
        for column in range(columns):
            _tile(canvas, dice, (margin + column * wide, margin + row * high, wide, high), colors, sheet)
    if columns > 1 and rows > 1:
        x, y = margin + hero[0] * wide, margin + hero[1] * high
        canvas.paint(Stencil().bar(x, y, x + 2 * wide, y + 2 * high), sheet)
        _figure(canvas, dice, (x + wide, y + high), min(wide, high), colors)


def _tile(
    canvas: Canvas, dice: Dice, tile: tuple[float, float, float, float], colors: list[Color], sheet: Color
) -> None:
    x, y, wide, high = tile
    back = dice.pick([sheet, sheet, *colors])
    front = dice.pick([c for c in colors if c != back] or [lift(back, 0.3)])
    canvas.paint(Stencil().bar(x, y, x + wide + 0.5, y + high + 0.5), back)
    canvas.paint(dice.pick(_MOTIFS)(dice, x, y, wide, high), front)


def _quarter(dice: Dice, x: float, y: float, wide: float, high: float) -> Stencil:
    right, low = dice.whole(0, 1), dice.whole(0, 1)
    start = {(0, 0): 0.0, (1, 0): 0.25, (1, 1): 0.5, (0, 1): 0.75}[(right, low)]
    corner = (x + wide * right, y + high * low)
    arc = [(corner[0] + u * wide, corner[1] + v * high) for u, v in (direction(start + i / 96) for i in range(25))]
    shape = Stencil([corner, *arc])
    if dice.chance(0.4):
        inner = [
            (corner[0] + u * wide * 0.5, corner[1] + v * high * 0.5)
            for u, v in (direction(start + i / 96) for i in range(25))
        ]
        shape.hole([corner, *inner])
    return shape


def _half(dice: Dice, x: float, y: float, wide: float, high: float) -> Stencil:
    if dice.chance(0.5):
        return Stencil(
            [
                (x + wide / 2 + u * wide / 2, y + high + v * high / 2)
                for u, v in (direction(0.5 + i / 64) for i in range(33))
            ]
        )
    return Stencil(
        [(x + u * wide / 2, y + high / 2 + v * high / 2) for u, v in (direction(0.75 + i / 64) for i in range(33))]
    )


def _dot(dice: Dice, x: float, y: float, wide: float, high: float) -> Stencil:
    middle, size = (x + wide / 2, y + high / 2), dice.pick([0.5, 0.36, 0.2])
    shape = Stencil(ring(*middle, wide * size, high * size, points=96))
    return shape.hole(ring(*middle, wide * size * 0.5, high * size * 0.5, points=72)) if dice.chance(0.4) else shape


def _bars(dice: Dice, x: float, y: float, wide: float, high: float) -> Stencil:
    shape, count, upright = Stencil(), dice.whole(3, 5), dice.chance(0.5)
    for i in range(count):
        a, b = i / count, (i + 0.5) / count
        if upright:
            shape.bar(x + wide * a, y, x + wide * b, y + high)
        else:
            shape.bar(x, y + high * a, x + wide, y + high * b)
    return shape


def _wedge(dice: Dice, x: float, y: float, wide: float, high: float) -> Stencil:
    corners = [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]
    del corners[dice.whole(0, 3)]
    return Stencil(corners)


_MOTIFS: list[Callable[[Dice, float, float, float, float], Stencil]] = [_quarter, _quarter, _half, _dot, _bars, _wedge]


def _figure(canvas: Canvas, dice: Dice, middle: Point, reach: float, colors: list[Color]) -> None:
    order = sorted(colors, key=luma)
    first, second = dice.pick(colors), dice.pick([order[0], order[-1]])
    canvas.paint(Stencil(ring(*middle, reach * 0.94, reach * 0.94, points=140)), first)
    turned = dice.pick([0.0, 0.25, 0.5, 0.75])
    half = [
        (middle[0] + u * reach * 0.94, middle[1] + v * reach * 0.94)
        for u, v in (direction(turned + i / 128) for i in range(65))
    ]
    canvas.paint(Stencil(half), mix(first, second, 0.8))
    canvas.paint(
        Stencil(ring(*middle, reach * 0.3, reach * 0.3, points=96)),
        dice.pick([c for c in colors if c != first] or [second]),
    )


def rings(canvas: Canvas, scene: Scene) -> None:
    """Circles around one centre, broken into arcs, with a disc in the middle."""
    dice, colors, palette = scene.dice("rings"), inks(scene), scene.palette
    canvas.blend(
        Gradient(top=ground(scene), bottom=mix(ground(scene), palette.haze, 0.5), start=0, end=canvas.height), 1.0
    )
    at = (canvas.width * dice.between(0.42, 0.58), canvas.height * dice.between(0.42, 0.58))
    reach, radius = (canvas.width**2 + canvas.height**2) ** 0.5 * 0.56, canvas.unit * 0.085
    canvas.glow(*at, reach, palette.light, 0.35)
    outer: list[tuple[float, float]] = []
    while radius < reach and len(outer) < 40:
        thick = canvas.unit * dice.between(0.006, 0.05)
        outer.append((radius, thick))
        radius += thick + canvas.unit * dice.between(0.008, 0.024)
    for radius, thick in outer:
        start, length = dice.between(0, 1), dice.pick([1.0, 0.5, 0.75, dice.between(0.3, 0.9)])
        canvas.paint(_arc(at, radius, thick, start, length), dice.pick(colors), 0.92)
    canvas.paint(Stencil().disc(*at, canvas.unit * 0.07), palette.accent)


def _arc(at: Point, radius: float, thick: float, start: float, length: float) -> Stencil:
    steps = 120
    turns = [direction(start + length * i / steps) for i in range(steps + 1)]
    far = [(at[0] + u * (radius + thick), at[1] + v * (radius + thick)) for u, v in turns]
    near = [(at[0] + u * radius, at[1] + v * radius) for u, v in turns]
    return Stencil([*far, *reversed(near)])


def burst(canvas: Canvas, scene: Scene) -> None:
    """Rays and sparks that fly from one point."""
    dice, colors, palette = scene.dice("burst"), inks(scene), scene.palette
    canvas.blend(mix(palette.ink, palette.zenith, 0.3), 1.0)
    at = (canvas.width * dice.between(0.4, 0.6), canvas.height * dice.between(0.42, 0.6))
    reach = (canvas.width**2 + canvas.height**2) ** 0.5 * 0.75
    for index in range(3):
        turned, count = dice.between(0, 1), dice.whole(13, 19)
        for group in range(3):
            rays = Stencil()
            for i in range(group, count, 3):
                middle, half = turned + (i + dice.between(-0.3, 0.3)) / count, dice.between(0.2, 0.8) * 0.32 / count
                long = reach * dice.between(0.35, 1.0) * (1 - 0.28 * index)
                (a, b), (c, d) = direction(middle - half), direction(middle + half)
                rays.shape([at, (at[0] + a * long, at[1] + b * long), (at[0] + c * long, at[1] + d * long)])
            canvas.paint(rays, lift(colors[(group + index) % len(colors)], 0.05 * index), 0.72)
    sparks = Stencil()
    for _ in range(260):
        u, v = direction(dice.between(0, 1))
        away = reach * dice.between(0.08, 0.75) * dice.between(0.4, 1)
        sparks.disc(at[0] + u * away, at[1] + v * away, canvas.unit * dice.between(0.001, 0.006))
    canvas.paint(sparks, palette.light, 0.9)
    canvas.glow(*at, canvas.unit * 0.75, palette.light, 0.85)
    canvas.paint(Stencil().disc(*at, canvas.unit * 0.08), mix(palette.light, (1.0, 1.0, 1.0), 0.5))


def facets(canvas: Canvas, scene: Scene) -> None:
    """A folded surface of triangles whose colours run across the sheet."""
    dice, colors, palette = scene.dice("facets"), inks(scene), scene.palette
    step = canvas.unit / 9
    columns, rows = min(60, int(canvas.width / step) + 2), min(60, int(canvas.height / step) + 2)
    wide, high = canvas.width / (columns - 1.5), canvas.height / (rows - 1.5)
    knots = [
        [
            ((c - 0.5 + dice.between(-0.38, 0.38)) * wide, (r - 0.5 + dice.between(-0.38, 0.38)) * high)
            for c in range(columns + 1)
        ]
        for r in range(rows + 1)
    ]
    sheet = Image.new("RGB", (canvas.width * 2, canvas.height * 2))
    pen = ImageDraw.Draw(sheet)
    lean = dice.between(0.3, 0.7)
    for r in range(rows):
        for c in range(columns):
            a, b, d, e = knots[r][c], knots[r][c + 1], knots[r + 1][c], knots[r + 1][c + 1]
            for corners in ([a, b, d], [b, e, d]) if (r + c) % 2 else ([a, b, e], [a, e, d]):
                middle_x, middle_y = sum(p[0] for p in corners) / 3, sum(p[1] for p in corners) / 3
                way = lean * middle_x / canvas.width + (1 - lean) * middle_y / canvas.height
                color = lift(along(colors, way), dice.between(-0.09, 0.09))
                color = mix(color, palette.light, max(0.0, 0.3 - abs(way - scene.light_x)) * 1.2)
                pen.polygon([(u * 2, v * 2) for u, v in corners], fill=eight_bits(color))
    canvas.replace(sheet.reduce(2))


def along(colors: list[Color], way: float) -> Color:
    """The colour at `way` (0..1) of a band that runs through all of them."""
    position = min(0.9999, max(0.0, way)) * (len(colors) - 1)
    left = int(position)
    return mix(colors[left], colors[min(len(colors) - 1, left + 1)], position - left)


def eight_bits(color: Color) -> tuple[int, int, int]:
    """The colour as a image of whole numbers has it."""
    red, green, blue = (round(c * 255) for c in color)
    return red, green, blue
