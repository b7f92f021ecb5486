"""Chooses the layers of a scene and their order, from the sky to the near ground."""

from collections.abc import Callable

from services.generator.adapters.providers.procedural.drawing.layers import (
    abstract_flows,
    abstract_shapes,
    buildings,
    castle,
    city,
    creatures,
    flowers,
    land,
    person,
    sky,
    space,
    trees,
    vessels,
    water,
    weather,
)
from services.generator.adapters.providers.procedural.drawing.paint.canvas import Canvas
from services.generator.adapters.providers.procedural.drawing.scene import Scene

Layer = Callable[[Canvas, Scene], None]

ABSTRACT: dict[str, Layer] = {
    "geometry": abstract_shapes.geometry,
    "ribbons": abstract_flows.ribbons,
    "marble": abstract_flows.marble,
    "rings": abstract_shapes.rings,
    "burst": abstract_shapes.burst,
    "facets": abstract_shapes.facets,
}

#: Layers of a landscape, distant ones first; each is painted if its subject is wanted.
_LANDSCAPE: tuple[tuple[str, Layer], ...] = (
    ("stars", sky.stars),
    ("aurora", sky.aurora),
    ("disc", sky.disc),
    ("clouds", sky.clouds),
    ("rainbow", sky.rainbow),
    ("far birds", lambda canvas, scene: sky.birds(canvas, scene, few=True)),
    ("mountain", land.mountains),
    ("balloon", vessels.balloons),
    ("hills", land.hills),
    ("dunes", land.dunes),
    ("sea", water.sea),
    ("waves", water.waves),
    ("mist", weather.mist),
    ("river", land.river),
    ("road", land.road),
    ("far wood", trees.forest),
    ("city", city.skyline),
    ("far house", buildings.house),
    ("castle", castle.castle),
    ("village", buildings.village),
    ("lake", water.mirror),
    ("wood", trees.forest),
    ("meadow", flowers.meadow),
    ("lighthouse", buildings.lighthouse),
    ("boat", vessels.boat),
    ("ground", land.foreground),
    ("house", buildings.house),
    ("tree", trees.tree),
    ("palm", trees.palms),
    ("bird", creatures.bird),
    ("fox", creatures.fox),
    ("dog", creatures.dog),
    ("cat", creatures.cat),
    ("rain", weather.rain),
    ("snow", weather.snow),
)

_GROUNDS = ("mountain", "hills", "dunes", "sea", "waves", "lake", "city", "forest", "meadow", "river", "road")
_SKY_ONLY = ("sun", "moon", "stars", "clouds", "aurora", "rainbow", "balloon", "bird", "mist", "rain", "snow")


def plan(scene: Scene) -> list[Layer]:
    """Returns the layers of a scene, in the order of painting."""
    reading = scene.reading
    if reading.framing == "aerial":
        return [abstract_flows.aerial]
    if reading.shows("person") and not reading.shows("city", "sea", "mountain", "road", "forest"):
        return [sky.air, *_starlight(scene), person.portrait]
    if _close_flower(scene):
        return [sky.air, flowers.macro]
    if reading.shows("galaxy", "planet") and not reading.shows(*_GROUNDS):
        return [space.deep, sky.stars, *([space.planet] if reading.shows("planet") else [])]
    abstract = [thing for thing in reading.things if thing in ABSTRACT]
    if not any(thing not in ABSTRACT for thing in reading.things):
        return [_abstract(scene, abstract)]
    if reading.things[0] in ("geometry", "ribbons", "marble", "facets") or "abstract" in reading.words:
        return [_abstract(scene, abstract)]
    wanted = _wanted(scene)
    return [sky.air, *(layer for name, layer in _LANDSCAPE if name in wanted)]


def _close_flower(scene: Scene) -> bool:
    reading = scene.reading
    if not reading.shows("flower"):
        return False
    return reading.framing == "macro" or not reading.shows(
        *_GROUNDS, "house", "village", "castle", "tree", "cat", "fox", "dog", "lighthouse", "boat"
    )


def _starlight(scene: Scene) -> list[Layer]:
    return [sky.stars] if scene.palette.dark and scene.reading.allows("stars") else []


def _abstract(scene: Scene, requested: list[str]) -> Layer:
    """Returns the layer of the first abstract subject in the prompt, else a random one."""
    allowed = [name for name in ABSTRACT if scene.reading.allows(name)] or list(ABSTRACT)
    return ABSTRACT[requested[0] if requested else scene.dice("abstract").pick(allowed)]


def _wanted(scene: Scene) -> set[str]:
    reading = scene.reading
    wanted = {thing for thing in reading.things if thing not in ABSTRACT}
    wanted |= _light(scene)
    water_near = bool(wanted & {"sea", "waves", "lake"})
    if "waves" in wanted:
        wanted.discard("sea")
    if wanted & {"boat", "lighthouse", "palm"} and not water_near:
        wanted.add("sea")
    if wanted & set(_GROUNDS) == {"mountain"} and reading.allows("hills"):
        wanted.add("hills")
    if wanted & {"village", "castle"} and not water_near and reading.allows("hills"):
        wanted.add("hills")
    if "flower" in wanted:
        wanted.add("meadow")
    if not wanted & set(_GROUNDS) and reading.allows("hills"):
        wanted.add("hills")
    if wanted & {"meadow", "river", "road"} and not wanted & {"sea", "waves", "lake", "city", "dunes", "hills"}:
        wanted.add("hills")
    return _placed(wanted, scene)


def _light(scene: Scene) -> set[str]:
    """Returns the sky's subjects that the prompt need not name: a disc, stars at night, clouds, birds by day."""
    reading, dice = scene.reading, scene.dice("sky")
    cloudy, flock = dice.chance(0.6), dice.chance(0.45)
    found = {"disc"}
    if scene.palette.dark and "neon" not in reading.moods and not reading.shows("rain", "clouds"):
        found.add("stars")
    if reading.framing != "minimal":
        if "storm" in reading.moods or (cloudy and not scene.palette.dark):
            found.add("clouds")
        if flock and not scene.palette.dark and not reading.shows("bird"):
            found.add("far birds")
    allowed = {thing for thing in found if reading.allows(thing)}
    return allowed if reading.allows("bird") else allowed - {"far birds"}


def _placed(wanted: set[str], scene: Scene) -> set[str]:
    """Returns the names of the layers: mirrored subjects come before the water, near subjects after it."""
    if "city" in wanted and city.wet_street(scene) and not wanted & {"sea", "waves"}:
        wanted.add("lake")
        wanted -= {"river"}
    lake = "lake" in wanted
    if "forest" in wanted:
        wanted -= {"river", "road"}
        wanted.add("far wood" if lake or wanted & {"sea", "waves"} else "wood")
    if lake and "house" in wanted:
        wanted = (wanted - {"house"}) | {"far house"}
    if lake and not wanted & {"mountain", "city", "forest"}:
        wanted.add("mountain" if scene.reading.allows("mountain") else "hills")
    stands = wanted & {"house", "tree", "cat", "fox", "dog", "palm"}
    if stands or (wanted == wanted & {*_SKY_ONLY, "disc"} and scene.reading.allows("hills")):
        wanted.add("ground")
    return wanted
