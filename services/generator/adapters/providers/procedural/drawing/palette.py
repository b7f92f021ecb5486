"""The colours of one image: an hour's light, changed by season, mood, colour words and the seed."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from services.generator.adapters.providers.procedural.drawing.paint.colour import (
    BLACK,
    Color,
    enrich,
    lift,
    luma,
    mix,
    rgb,
    steer,
    turn,
)
from services.generator.adapters.providers.procedural.drawing.paint.curves import direction
from services.generator.adapters.providers.procedural.drawing.paint.dice import Dice
from services.generator.adapters.providers.procedural.drawing.prompt.reading import Reading


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of an image, from the top of the sky to the nearest shadow."""

    zenith: Color
    """Top of the sky."""
    sky: Color
    """Middle of the sky."""
    horizon: Color
    """Sky at the horizon."""
    light: Color
    """Sun, moon and lamps."""
    haze: Color
    """Air in front of distant things."""
    land: Color
    """Open ground."""
    ink: Color
    """Shadows and dark lines."""
    accent: Color
    """Small coloured subjects."""
    paper: Color
    """Unpainted paper and highlights."""

    @property
    def dark(self) -> bool:
        """Whether the sky is dark enough for stars and lit windows."""
        return luma(self.sky) < 0.36


def _palette(codes: str) -> Palette:
    return Palette(**dict(zip((f.name for f in fields(Palette)), map(rgb, codes.split()), strict=True)))


#                      zenith sky    horizon light  haze   land   ink    accent paper
_HOURS = {
    "dawn": _palette("6f83b8 e5a9ad ffdcb0 fff3cf f2c3b3 6a6f93 272b4a f2785c fbf1e2"),
    "day": _palette("3d8fc6 86c5dc f4ecd0 fffbe8 c3d9d6 4f8a6c 173f45 ee6a4a f8f2e2"),
    "golden": _palette("d9824a f2b562 ffe4a0 fff6d2 f0c07c a8713a 43241d d9482b fbf0d8"),
    "dusk": _palette("2b2a63 a8457c ff9d63 ffdc8c d9758a 57355f 191431 ff6a55 fbeadb"),
    "night": _palette("080d28 142450 3b5a8e f6f0d6 33507f 1b2f56 050a1a ffc463 e9e6dc"),
}
_MISTY = _palette("9fb1b8 c3cdca e6e3d6 fbf6e6 d3d7d0 6f8583 2a3c42 d98256 f4f1e7")
_STORM = _palette("262f3d 4d5d6c a9ada0 e9e2c4 7d8a8f 3f5059 131c26 e0a24a ece9df")
_NEON = _palette("100a2c 39146a d8347f ffd3f2 7a2b9c 2a1a5c 0a0620 2ee6e0 efe7f5")
_BARE = {
    "sunlit": _palette("2f7fb5 7fc3cf f7e8c4 fff7dd c9dccb 5b8f67 1c3f42 ef6f45 f8f1df"),
    "peach": _palette("e9866b f5b38a fbe3b7 fff4d6 efc2a2 9a6a5f 3a2533 2f7f86 fbf0de"),
    "teal": _palette("17545f 4f9c98 d9e2c0 fff6d8 9cc4b4 2f6f66 0d2a33 f0894d f4f0df"),
    "frost": _palette("6f9cc4 a9c6d8 eef0ea fffaf0 cfdde4 7f9db0 24405a e2694a f7f6f2"),
    "plum": _palette("4b3b6b a5668b f3b79a ffe9c2 cf98a0 6a4a6e 241a36 f4a63f f8eee2"),
}

_SEASONS: dict[str, tuple[str, float]] = {
    "spring": ("86b458", 0.55),
    "summer": ("4f9a4a", 0.4),
    "autumn": ("c4622a", 0.8),
    "winter": ("b9cbd9", 0.8),
}


#: Subjects so large that their colour is in the air as well.
_SCENERY = frozenset(
    {"mountain", "hills", "dunes", "sea", "waves", "lake", "forest", "meadow", "city", "clouds", "sun"}
)


def choose(reading: Reading, dice: Dice) -> Palette:
    """Returns the palette for a reading; unknown words also change it, through the random numbers."""
    palette = _light(reading, dice)
    if reading.season is not None:
        code, strength = _SEASONS[reading.season]
        palette = replace(palette, land=mix(palette.land, rgb(code), strength * (0.5 if palette.dark else 1.0)))
        if reading.season == "winter":
            palette = replace(palette, haze=mix(palette.haze, rgb("dfe8ee"), 0.15 if palette.dark else 0.4))
    for mood in reading.moods:
        palette = _MOODS.get(mood, _unmoved)(palette)
    if not reading.colours:
        cosine, sine = direction(dice.between(-0.025, 0.025))
        palette = _each(palette, lambda color: turn(color, cosine, sine))
    return _coloured(palette, reading)


def _light(reading: Reading, dice: Dice) -> Palette:
    if "neon" in reading.moods:
        return _NEON
    if "storm" in reading.moods:
        return mix_palettes(_STORM, _HOURS[reading.hour], 0.45) if reading.hour else _STORM
    hour = reading.hour
    if hour is None and reading.shows("moon", "stars", "aurora", "galaxy", "planet"):
        hour = "night"
    if hour is not None:
        return mix_palettes(_HOURS[hour], _MISTY, 0.3) if "misty" in reading.moods else _HOURS[hour]
    if "misty" in reading.moods or reading.shows("rain"):
        return _MISTY
    if reading.season == "winter":
        return _BARE["frost"]
    if reading.framing == "aerial":
        return _HOURS["day"]
    if reading.shows("dunes"):
        return mix_palettes(_HOURS["golden"], _BARE["peach"], dice.between(0.1, 0.6))
    return dice.pick([*_BARE.values(), _HOURS["dawn"], _HOURS["dusk"], _HOURS["golden"]])


def mix_palettes(a: Palette, b: Palette, share: float) -> Palette:
    """`a` with `share` of `b` in every colour."""
    return Palette(**{f.name: mix(getattr(a, f.name), getattr(b, f.name), share) for f in fields(Palette)})


def _each(palette: Palette, change: Callable[[Color], Color]) -> Palette:
    return Palette(**{f.name: change(getattr(palette, f.name)) for f in fields(Palette)})


def _unmoved(palette: Palette) -> Palette:
    return palette


_MOODS: dict[str, Callable[[Palette], Palette]] = {
    "joyful": lambda p: _each(p, lambda c: enrich(c, 1.3)),
    "calm": lambda p: _each(p, lambda c: enrich(c, 0.85)),
    "sad": lambda p: _each(p, lambda c: steer(enrich(c, 0.5), rgb("5d7590"), 0.35)),
    "warm": lambda p: _each(p, lambda c: steer(c, rgb("e08a3c"), 0.22)),
    "cool": lambda p: _each(p, lambda c: steer(c, rgb("5a9bd0"), 0.22)),
    "pastel": lambda p: _each(p, lambda c: enrich(lift(c, 0.08 * (1 - luma(c)) + 0.03), 0.8)),
}


def _coloured(palette: Palette, reading: Reading) -> Palette:
    """Moves the palette towards the prompt's colours, less if they belong to one subject."""
    owned = set(reading.tints.values())
    free = [c for c in reading.colours if c not in owned]
    if not reading.colours:
        return palette
    if not free:
        first = reading.colours[0]
        wide = any(thing in _SCENERY for thing in reading.tints)
        return _steered(replace(palette, accent=first), first, first, 0.4 if wide else 0.1)
    first, second = free[0], free[min(1, len(free) - 1)]
    moved = _steered(palette, first, second, 0.72)
    return replace(moved, accent=free[-1] if len(free) > 1 else mix(palette.accent, first, 0.5))


def _steered(palette: Palette, first: Color, second: Color, strength: float) -> Palette:
    return replace(
        palette,
        zenith=steer(palette.zenith, first, strength),
        sky=steer(palette.sky, first, strength),
        horizon=steer(palette.horizon, first, strength * 0.6),
        haze=steer(palette.haze, first, strength * 0.8),
        land=steer(palette.land, second, strength),
        ink=mix(steer(palette.ink, second, strength * 0.6), BLACK, 0.05),
        light=steer(palette.light, first, strength * 0.15),
    )
