"""What every layer knows: the reading, the palette, where the horizon and the light are."""

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
    """Positions are shares of the picture's width and height."""

    reading: Reading
    palette: Palette
    seed: int
    horizon: float
    light_x: float
    light_y: float

    def dice(self, name: str) -> Dice:
        """The random numbers of one layer; a layer that is left out changes no other."""
        return Dice(self.reading.key, self.seed, name)

    def shows(self, *things: str) -> bool:
        """Whether the prompt asks for any of the subjects."""
        return self.reading.shows(*things)

    def tint(self, thing: str, otherwise: Color) -> Color:
        """The colour that the prompt gave to a subject."""
        return self.reading.tints.get(thing, otherwise)

    def far(self, color: Color, depth: float) -> Color:
        """The colour as the air leaves it; depth 0 is at hand, 1 is at the horizon."""
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
        """Where living things and single subjects stand, away from the light: 1 is right, -1 is left."""
        return 1 if self.light_x < 0.5 else -1

    def beside(self, *others: str) -> int:
        """The side for scenery that makes room where any of the others is shown."""
        return -self.side if self.shows(*others) else self.side

    def near_edge(self, canvas: Canvas) -> Line:
        """The brim of the ground that the viewer stands on, as one row per column."""
        dice = self.dice("near edge")
        swell = profile(dice, canvas.width, canvas.width * 0.7, octaves=2)
        lean = dice.between(-0.06, 0.06) * (canvas.columns[0] / canvas.width - 0.5)
        level = 0.9 if self.shows("lake", "sea", "waves", "city") else 0.82
        edge: Line = canvas.height * (level + lean) + swell * canvas.height * 0.045
        return edge

    def disc(self) -> str | None:
        """Which light stands in the sky: `sun`, `moon` or none."""
        asked = next((thing for thing in _DISCS if self.shows(thing)), None)
        fitting = "moon" if self.palette.dark and self.reading.hour not in ("dusk", "dawn", "golden") else "sun"
        if asked is None and (self.shows("rain") or ("neon" in self.reading.moods and not self.palette.dark)):
            return None
        found = asked or fitting
        return found if self.reading.allows(found) else None


def stage(reading: Reading, seed: int, shape: float) -> Scene:
    """Sets the scene of a reading for a picture `shape` times as wide as high."""
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
