"""Value noise and sums of its octaves, in one and two dimensions; all in about -1..1."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice, Field

Line = NDArray[np.float64]


def smooth(low: float, high: float, values: Field) -> Field:
    """0 below `low`, 1 above `high`, an S-curve between."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    curve: Field = t * t * (3 - 2 * t)
    return curve


def cells(dice: Dice, width: int, height: int, step_x: float, step_y: float) -> Field:
    """Value noise whose lattice is `step_x` by `step_y` pixels."""
    across, down = max(1.0, width / max(1.0, step_x)), max(1.0, height / max(1.0, step_y))
    lattice = dice.field(int(down) + 4, int(across) + 4) * 2 - 1
    image = Image.fromarray(lattice)
    grown = image.resize((width, height), Image.Resampling.BICUBIC, box=(1, 1, 1 + across, 1 + down))
    return np.asarray(grown, dtype=np.float32)


def cloud(dice: Dice, width: int, height: int, step: float, *, octaves: int = 5, stretch: float = 1.0) -> Field:
    """Fractal noise: octaves of halving size and weight; `stretch` > 1 draws it out sideways."""
    total = np.zeros((height, width), dtype=np.float32)
    weight, weights = 1.0, 0.0
    for _ in range(octaves):
        total += cells(dice, width, height, step * stretch, step) * np.float32(weight)
        weights += weight
        weight, step = weight * 0.5, step * 0.5
        if step < 1:
            break
    # Octaves rarely peak together: 0.6 of the sum of weights fills the range without flattening it.
    spread: Field = np.clip(total / np.float32(weights * 0.6), -1, 1)
    return spread


def above(field: Field, rows: int) -> Field:
    """Returns the field moved down by `rows`; the topmost row fills the gap."""
    moved = np.roll(field, rows, axis=0)
    moved[:rows] = field[:1]
    return moved


def profile(dice: Dice, length: int, step: float, *, octaves: int = 4, gain: float = 0.5) -> Line:
    """Fractal noise along a line of `length` pixels."""
    total = np.zeros(length)
    position = np.arange(length, dtype=np.float64)
    weight, weights = 1.0, 0.0
    for _ in range(octaves):
        at = position / max(1.0, step)
        left = at.astype(np.int64)
        t = at - left
        t = t * t * (3 - 2 * t)
        knots = dice.field(1, int(at[-1]) + 2)[0].astype(np.float64) * 2 - 1
        total += (knots[left] * (1 - t) + knots[left + 1] * t) * weight
        weights += weight
        weight, step = weight * gain, step * 0.5
    return total / weights
