"""Manners: how the finished scene is put on paper when the prompt names one."""

import numpy as np
from PIL import Image, ImageDraw

from services.generator.adapters.providers.procedural.drawing.layers.abstract_shapes import MAT
from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.paint.colour import mix, rgb
from services.generator.adapters.providers.procedural.drawing.paint.curves import direction
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice, Field
from services.generator.adapters.providers.procedural.drawing.paint.noise import above, cells, cloud, smooth
from services.generator.adapters.providers.procedural.drawing.paint.stencil import Stencil
from services.generator.adapters.providers.procedural.drawing.scene import Scene


def watercolor(canvas: Canvas, scene: Scene) -> None:
    """Wet edges, blooms of pigment, and bare paper around."""
    dice, unit = scene.dice("watercolor"), canvas.unit
    wide, high = canvas.width, canvas.height
    _bleed(canvas, dice)
    tone = canvas.luminance()
    edges = np.clip((_softened(tone, unit * 0.006) - tone) * np.float32(2.2), -0.1, 0.3)
    bloom = cloud(dice, wide, high, unit * 0.2, octaves=5) * np.float32(0.085)
    grit = cells(dice, wide, high, max(1.0, unit * 0.003), max(1.0, unit * 0.003)) * np.float32(0.03) * (1 - tone)
    for plane in canvas.planes:
        plane *= np.float32(0.84)
        plane += np.float32(0.14)
        plane += (bloom + grit - edges) * (np.float32(1.02) - plane) * np.float32(1.5)
        np.clip(plane, 0, 1, out=plane)
    ragged = cloud(dice, wide, high, unit * 0.16, octaves=5) * np.float32(unit * 0.014)
    inside = (
        np.minimum(np.minimum(canvas.columns, wide - canvas.columns), np.minimum(canvas.rows, high - canvas.rows))
        + ragged
    )
    paper = mix(scene.palette.paper, rgb("fbf8f0"), 0.7)
    rim = np.clip(1 - np.abs(inside - np.float32(unit * 0.05)) / np.float32(unit * 0.006), 0, 1)
    canvas.blend(mix(scene.palette.zenith, scene.palette.ink, 0.3), rim * np.float32(0.16))
    canvas.blend(paper, 1 - smooth(unit * 0.042, unit * 0.049, inside))


def _bleed(canvas: Canvas, dice: Dice) -> None:
    """Lets every contour wander a little, as wet paint does."""
    wide, high, unit = canvas.width, canvas.height, canvas.unit
    columns = canvas.columns + cloud(dice, wide, high, unit * 0.04, octaves=3) * np.float32(unit * 0.006)
    rows = canvas.rows + cloud(dice, wide, high, unit * 0.04, octaves=3) * np.float32(unit * 0.006)
    across, down = np.clip(columns, 0, wide - 1).astype(np.int32), np.clip(rows, 0, high - 1).astype(np.int32)
    for plane in canvas.planes:
        plane[:] = _softened(plane[down, across], unit * 0.0016)


def lines(canvas: Canvas, scene: Scene) -> None:
    """A pen drawing: contours, and hatching where it is dark."""
    dice, unit = scene.dice("lines"), canvas.unit
    tone = _softened(canvas.luminance(), unit * 0.0015)
    contour = smooth(0.04, 0.16, _edges(canvas))
    ink = mix(scene.palette.ink, rgb("1b1a20"), 0.5)
    wander = cells(dice, canvas.width, canvas.height, unit * 0.1, unit * 0.1) * np.float32(unit * 0.006)
    canvas.blend(mix(scene.palette.paper, rgb("f7f2e6"), 0.5), 1.0)
    pitch = max(3.0, unit * 0.0075)
    low, high = float(np.percentile(tone[::4, ::4], 4)), float(np.percentile(tone[::4, ::4], 96))
    level = np.clip((tone - np.float32(low)) / np.float32(max(0.05, high - low)), 0, 1)
    for slant, limit in ((1.0, 0.8), (-1.0, 0.52), (0.35, 0.3), (-0.35, 0.14)):
        position = (canvas.columns + canvas.rows * np.float32(slant) + wander) / np.float32(
            pitch * (1 + 0.4 * abs(slant))
        )
        stripe = np.abs((position - np.floor(position)) * 2 - 1)
        weight = np.clip((np.float32(limit) - level) * 3, 0, 1)
        canvas.blend(
            ink, smooth(0.62, 0.88, stripe * (0.55 + 0.45 * weight)) * smooth(0.0, 0.3, weight) * np.float32(0.72)
        )
    canvas.blend(ink, contour * np.float32(0.95))


def pixel(canvas: Canvas, scene: Scene) -> None:
    """A coarse grid and few colours, dithered."""
    across = 112 if canvas.unit >= 224 else 48
    grain = max(2.0, canvas.unit / across)
    wide, high = max(1, round(canvas.width / grain)), max(1, round(canvas.height / grain))
    small = canvas.image().resize((wide, high), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32)
    bayer = np.array(
        [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], dtype=np.float32
    ) / 16 - np.float32(0.47)
    tiled = np.tile(bayer, (high // 4 + 1, wide // 4 + 1))[:high, :wide, None]
    dithered = Image.fromarray(np.clip(values + tiled * np.float32(22), 0, 255).astype(np.uint8))
    few = dithered.quantize(28, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    canvas.replace(few.resize((canvas.width, canvas.height), Image.Resampling.NEAREST))


def poster(canvas: Canvas, scene: Scene) -> None:
    """Flat steps of colour and a white mat, as a screen print has."""
    if not scene.shows("geometry"):
        _stepped(canvas, scene, 9)
    _mat(canvas, scene, MAT)


def retro(canvas: Canvas, scene: Scene) -> None:
    """Faded inks, a halftone screen, one plate out of register."""
    _stepped(canvas, scene, 8)
    tone = canvas.luminance()
    pitch = max(4.0, canvas.unit * 0.0085)
    u, v = direction(0.0416)
    a = (canvas.columns * np.float32(u) + canvas.rows * np.float32(v)) / np.float32(pitch)
    b = (canvas.rows * np.float32(u) - canvas.columns * np.float32(v)) / np.float32(pitch)
    apart = np.sqrt((a - np.round(a)) ** 2 + (b - np.round(b)) ** 2)
    dots = smooth(-0.09, 0.09, (np.float32(0.62) * np.sqrt(np.clip(1 - tone, 0, 1)) - apart))
    canvas.blend(mix(scene.palette.ink, rgb("5a2a20"), 0.4), dots * np.float32(0.26))
    shift = max(1, int(canvas.unit * 0.003))
    canvas.planes[0] = np.roll(canvas.planes[0], shift, axis=1)
    canvas.tint(rgb("ffeccc"), 0.9)
    for plane in canvas.planes:
        plane *= np.float32(0.92)
        plane += np.float32(0.075)
    _mat(canvas, scene, MAT)


def blueprint(canvas: Canvas, scene: Scene) -> None:
    """White lines on cyan paper, with a grid and a drawing frame."""
    edges, tone, unit = _edges(canvas), canvas.luminance(), canvas.unit
    paper, chalk = mix(rgb("12408a"), scene.palette.zenith, 0.12), rgb("e8f1fb")
    canvas.blend(paper, 1.0)
    canvas.blend(chalk, tone * np.float32(0.2))
    for pitch, opacity in ((unit / 40, 0.07), (unit / 8, 0.16)):
        for position in (canvas.columns, canvas.rows):
            apart = np.abs(position / np.float32(pitch) - np.round(position / np.float32(pitch))) * np.float32(pitch)
            canvas.blend(
                chalk,
                np.clip(np.float32(max(0.6, unit * 0.0009)) - apart + np.float32(0.3), 0, 1) * np.float32(opacity),
            )
    canvas.blend(chalk, smooth(0.03, 0.14, edges) * np.float32(0.92))
    frame, inset, thick = Stencil(), unit * 0.03, unit * 0.003
    frame.bar(inset, inset, canvas.width - inset, canvas.height - inset)
    frame.hole([(x, y) for x, y in _inner(canvas, inset + thick)])
    canvas.paint(frame, chalk, 0.9)


def mono(canvas: Canvas, scene: Scene) -> None:
    """Toned silver: deep brown shadows, cream lights."""
    tone = canvas.luminance()
    low, high = float(np.percentile(tone[::4, ::4], 1)), float(np.percentile(tone[::4, ::4], 99))
    level = smooth(-0.12, 1.08, (tone - np.float32(low)) / np.float32(max(0.05, high - low)))
    neutral = bool(scene.reading.words & {"blackandwhite", "noir", "grayscale", "greyscale", "monochrome", "bw"})
    dark, light = (rgb("141416"), rgb("f4f3f0")) if neutral else (rgb("2a1a12"), rgb("f3e6cd"))
    canvas.blend(dark, 1.0)
    canvas.blend(light, level)
    if not neutral:
        _mat(canvas, scene, 0.035)


def oil(canvas: Canvas, scene: Scene) -> None:
    """Brush strokes, broad first and finer over them, laid along a turning flow."""
    source = canvas.image()
    scale = 1 if canvas.unit > 700 else 2
    sheet = source.resize((canvas.width * scale, canvas.height * scale))
    pen = ImageDraw.Draw(sheet)
    dice = scene.dice("oil")
    pixels = np.asarray(source)
    flow = cells(dice, canvas.width, canvas.height, canvas.unit * 0.3, canvas.unit * 0.3)
    area = min(2.0, canvas.width * canvas.height / canvas.unit**2)
    for size, count in ((0.034, 2200), (0.018, 5200), (0.0095, 7000)):
        positions = dice.field(int(count * area), 4)
        for u, v, tilt, shade in positions.tolist():
            x, y = int(u * canvas.width), int(v * canvas.height)
            a, b = direction(round(float(flow[y, x]) * 0.5 + (tilt - 0.5) * 0.08, 3))
            long, half = canvas.unit * size * scale, canvas.unit * size * 0.2 * scale
            red, green, blue = (min(255, max(0, int(c + (shade - 0.5) * 26))) for c in pixels[y, x])
            x, y = x * scale, y * scale
            ends = [(x - a * long - b * half * 0.4, y - b * long + a * half * 0.4), (x - b * half, y + a * half)]
            ends += [(x + a * long, y + b * long), (x + b * half, y - a * half)]
            pen.polygon(ends, fill=(red, green, blue))
    canvas.replace(sheet.reduce(scale) if scale > 1 else sheet)
    tone = canvas.luminance()
    ridge = np.clip((tone - above(tone, max(1, int(canvas.unit * 0.0015)))) * np.float32(0.5), -0.06, 0.06)
    for plane in canvas.planes:
        plane += ridge


def _stepped(canvas: Canvas, scene: Scene, steps: int) -> None:
    soft = cells(scene.dice("steps"), canvas.width, canvas.height, canvas.unit * 0.05, canvas.unit * 0.05) * np.float32(
        0.006
    )
    tone = np.clip(_softened(canvas.luminance(), canvas.unit * 0.003) + soft, 0.004, 1)
    level = tone * np.float32(steps)
    whole = np.floor(level)
    flat = (whole + smooth(0.44, 0.56, level - whole) + np.float32(0.15)) / np.float32(steps)
    gain = np.clip(flat / tone, 0.6, 1.5)
    for plane in canvas.planes:
        plane *= gain
        np.clip(plane, 0, 1, out=plane)


def _mat(canvas: Canvas, scene: Scene, share: float) -> None:
    sheet = Stencil().bar(-2, -2, canvas.width + 2, canvas.height + 2).hole(_inner(canvas, canvas.unit * share))
    canvas.paint(sheet, mix(scene.palette.paper, rgb("f7f2e4"), 0.6))


def _inner(canvas: Canvas, inset: float) -> list[tuple[float, float]]:
    right, bottom = canvas.width - inset, canvas.height - inset
    return [(inset, inset), (right, inset), (right, bottom), (inset, bottom)]


def _softened(field: Field, radius: float) -> Field:
    """The field averaged over squares of that half width, twice."""
    reach = max(1, round(radius))
    for axis in (0, 1, 0, 1):
        field = (np.roll(field, reach, axis=axis) + np.roll(field, -reach, axis=axis) + field) / np.float32(3)
    return field


def _edges(canvas: Canvas) -> Field:
    """How fast brightness and colour change, 0..1, over a pen's width."""
    reach = max(1, round(canvas.unit * 0.0012))
    total: Field = np.zeros((canvas.height, canvas.width), dtype=np.float32)
    for plane in canvas.planes:
        soft = _softened(plane, reach)
        for axis in (0, 1):
            change = np.abs(np.roll(soft, reach, axis=axis) - np.roll(soft, -reach, axis=axis))
            # A roll wraps around: the outermost lines compare with the other side of the image.
            edge = reach * 3
            change[:edge] = change[-edge:] = 0
            change[:, :edge] = change[:, -edge:] = 0
            total += change
    return np.minimum(total, 1)


MANNERS = {
    "watercolor": watercolor,
    "lines": lines,
    "pixel": pixel,
    "poster": poster,
    "retro": retro,
    "blueprint": blueprint,
    "mono": mono,
    "oil": oil,
}
