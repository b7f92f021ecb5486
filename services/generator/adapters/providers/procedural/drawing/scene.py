"""The scene that every layer draws: the reading, the palette, the horizon and the light."""

from dataclasses import dataclass

from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, lift, luma, mix
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice
from services.generator.adapters.providers.procedural.drawing.paint.noise import Line, profile
from services.generator.adapters.providers.procedural.drawing.palette import Palette, choose
from services.generator.adapters.providers.procedural.drawing.prompt.reading import Reading

_DISCS = ("moon", "sun")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What all layers of an image share. Positions are shares (0 to 1) of the image's width and height."""

    reading: Reading
    """What the prompt names."""
    palette: Palette
    """The colours."""
    seed: int
    """The seed of the image."""
    horizon: float
    """Height of the horizon, from the top."""
    light_x: float
    """Position of the light, from the left."""
    light_y: float
    """Position of the light, from the top."""

    def dice(self, name: str) -> Dice:
        """Returns the random numbers of one layer; they do not depend on other layers."""
        return Dice(self.reading.key, self.seed, name)

    def shows(self, *things: str) -> bool:
        """Returns whether the prompt names any of the subjects."""
        return self.reading.shows(*things)

    def tint(self, thing: str, otherwise: Color) -> Color:
        """The colour that the prompt gave to a subject."""
        return self.reading.tints.get(thing, otherwise)

    def far(self, color: Color, depth: float) -> Color:
        """Returns a colour seen through the air; depth 0 is near, 1 is at the horizon."""
        return mix(color, self.palette.haze, depth)

    @property
    def snowy(self) -> bool:
        """Whether the ground lies under snow."""
        return self.reading.season == "winter" and self.reading.allows("snow")

    @property
    def ground(self) -> Color:
        """The colour of open ground."""
        if self.snowy:
            return mix(lift(self.palette.haze, 0.06), self.palette.paper, 0.2 if self.palette.dark else 0.6)
        return self.tint("hills", self.tint("meadow", self.palette.land))

    @property
    def lit(self) -> Color:
        """The colour of lamps and windows."""
        light, warm = self.palette.light, self.palette.accent
        return mix(light, warm, 0.45 if luma(warm) > 0.45 else 0.2)

    @property
    def side(self) -> int:
        """The side of living things and single subjects, away from the light: 1 is right, -1 is left."""
        return 1 if self.light_x < 0.5 else -1

    def beside(self, *others: str) -> int:
        """Returns the side for scenery: the other side if any of `others` is shown."""
        return -self.side if self.shows(*others) else self.side

    def near_edge(self, canvas: Canvas) -> Line:
        """Returns the upper edge of the near ground, as one row for each column."""
        dice = self.dice("near edge")
        swell = profile(dice, canvas.width, canvas.width * 0.7, octaves=2)
        lean = dice.between(-0.06, 0.06) * (canvas.columns[0] / canvas.width - 0.5)
        level = 0.9 if self.shows("lake", "sea", "waves", "city") else 0.82
        edge: Line = canvas.height * (level + lean) + swell * canvas.height * 0.045
        return edge

    def disc(self) -> str | None:
        """Returns the light in the sky: `sun`, `moon` or None."""
        requested = next((thing for thing in _DISCS if self.shows(thing)), None)
        fitting = "moon" if self.palette.dark and self.reading.hour not in ("dusk", "dawn", "golden") else "sun"
        if requested is None and (self.shows("rain") or ("neon" in self.reading.moods and not self.palette.dark)):
            return None
        found = requested or fitting
        return found if self.reading.allows(found) else None


def stage(reading: Reading, seed: int, shape: float) -> Scene:
    """Returns the scene of a reading for an image `shape` times as wide as high."""
    dice = Dice(reading.key, seed, "stage")
    low = reading.hour in ("dawn", "dusk", "golden")
    horizon = 0.74 if reading.framing == "minimal" else dice.between(0.56, 0.66)
    light_x = dice.pick([dice.between(0.24, 0.4), dice.between(0.6, 0.76)])
    if shape > 1.6:
        light_x = dice.between(0.2, 0.8)
    light_y = horizon - dice.between(0.1, 0.17) if low else dice.between(0.2, 0.32)
    return Scene(
        reading=reading,
        palette=choose(reading, dice),
        seed=seed,
        horizon=horizon,
        light_x=light_x,
        light_y=light_y,
    )
