"""The words that the renderer knows, and what each stands for."""

from functools import cache

#: Subjects: what is drawn.
THINGS = {
    "mountain": "mountain mount peak summit alps alpine himalaya everest fuji ridge cliff volcano glacier rocky canyon",
    "hills": "hill valley countryside landscape pasture moor highland vineyard farmland knoll horizon",
    "dunes": "dune desert sahara sand sandy savanna arid oasis",
    "sea": (
        "sea ocean coast shore bay beach harbour harbor seaside maritime island pacific atlantic lagoon marine nautical"
    ),
    "waves": "wave surf stormysea tsunami breaker swell tide",
    "lake": "lake pond reflection fjord loch reservoir",
    "river": "river stream creek brook canal waterfall",
    "road": "road path street trail highway lane way journey walk",
    "forest": "forest wood woodland pine fir conifer spruce taiga jungle evergreen rainforest grove trees",
    "tree": "tree oak willow maple birch cherryblossom sakura orchard bonsai",
    "palm": "palm tropical tropic hawaii caribbean coconut",
    "city": "city skyline skyscraper town downtown urban metropolis cityscape tokyo manhattan building cyberpunk tower",
    "house": "house cottage cabin hut home barn farm chalet farmhouse shed church chapel",
    "village": "village hamlet houses cottages",
    "castle": "castle fortress palace citadel",
    "lighthouse": "lighthouse beacon",
    "boat": "boat sailboat ship yacht sail vessel regatta schooner sailing",
    "balloon": "balloon hotairballoon airship zeppelin",
    "flower": (
        "flower poppy rose tulip daisy sunflower lily lotus blossom petal bloom peony dahlia orchid anemone"
        " chrysanthemum"
    ),
    "meadow": "meadow field garden prairie wildflower flowers grassland grass lavender bouquet",
    "cat": "cat kitten kitty feline tomcat",
    "fox": "fox vixen wolf",
    "dog": "dog puppy corgi hound retriever labrador terrier",
    "bird": "bird swallow gull seagull crow raven dove eagle hawk flock crane goose swan heron",
    "person": "person woman man girl boy face portrait king queen child lady human self people she he dancer",
    "sun": "sun sunny sunlight sunshine solar",
    "moon": "moon fullmoon moonlight moonlit lunar crescent",
    "stars": "star starry constellation milkyway starlight",
    "galaxy": "galaxy nebula cosmos cosmic universe space supernova interstellar astronaut",
    "planet": "planet saturn jupiter mars orbit asteroid ringed",
    "aurora": "aurora northernlights borealis",
    "clouds": "cloud cloudy cumulus overcast sky",
    "rainbow": "rainbow",
    "mist": "mist misty fog foggy haze hazy smoke smoky",
    "rain": "rain rainy drizzle downpour shower monsoon umbrella",
    "snow": "snow snowy snowfall blizzard snowflake",
    "geometry": (
        "geometry geometric abstract bauhaus circle triangle square shape composition suprematism constructivist cubist"
        " pattern modernist kandinsky mathematics logic architecture"
    ),
    "ribbons": "ribbon flow music rhythm melody jazz dance motion wind silk harmony sound song symphony",
    "marble": "marble ink fluid liquid agate swirl smokeart dream memory soul emotion thought paint oilslick lava",
    "rings": "ring ripple mandala time eternity infinity zen meditation target echo spiral tunnel",
    "burst": "burst explosion energy chaos fire firework spark power radiation flame speed",
    "facets": "facet crystal polygon lowpoly prism diamond gem glass shard mosaic origami network data code",
}

HOURS = {
    "dawn": "dawn sunrise morning daybreak earlymorning",
    "day": "day noon midday daylight afternoon daytime blueday",
    "golden": "goldenhour golden evening lateafternoon",
    "dusk": "dusk sunset twilight afterglow bluehour sundown",
    "night": "night midnight nocturnal nighttime nocturne dark darkness",
}

SEASONS = {
    "spring": "spring april blossom sakura cherryblossom fresh",
    "summer": "summer july june august hot tropical",
    "autumn": "autumn fall october november harvest autumnal",
    "winter": "winter december january february cold frozen frost ice icy snow snowy christmas glacier",
}

MOODS = {
    "storm": "storm stormy thunder tempest dramatic ominous rage stormysea gloomy",
    "calm": "calm peaceful serene quiet tranquil still gentle soft zen silent",
    "joyful": "joyful happy cheerful vivid vibrant playful bright colorful colourful lively fun",
    "sad": "sad melancholy lonely sorrow grief bleak desolate solitude",
    "neon": "neon cyberpunk vaporwave synthwave electric glowing futuristic",
    "warm": "warm cozy cosy sunny hot amber summer",
    "cool": "cool cold icy frozen frosty arctic",
    "misty": "mist misty fog foggy hazy haze",
    "pastel": "pastel tender delicate pale dreamy dream",
}

STYLES = {
    "watercolor": "watercolor watercolour aquarelle gouache wash",
    "lines": "linedrawing lineart sketch drawing etching engraving pencil ink woodcut inkdrawing",
    "pixel": "pixel pixelart 8bit 16bit voxel bitmap",
    "poster": "poster bauhaus minimalposter travelposter lithograph screenprint",
    "retro": "retro vintage 1970s 70s nostalgic halftone popart comic",
    "blueprint": "blueprint technical schematic cyanotype plan draft",
    "mono": "blackandwhite monochrome calotype sepia daguerreotype grayscale greyscale noir bw",
    "oil": "oil oilpainting impressionist impressionism impasto vangogh monet painterly brush painting acrylic",
}

FRAMINGS = {
    "macro": "macro closeup detail bokeh",
    "aerial": "aerial birdseye topdown satellite map topographic overhead topography drone",
    "minimal": "minimal minimalist minimalism simple empty solitude",
}

COLOURS = {
    "d62828": "red scarlet crimson ruby cherry",
    "7b1e2b": "burgundy maroon wine claret",
    "e2574c": "coral salmon vermilion",
    "f3722c": "orange tangerine copper amber pumpkin",
    "f6c431": "yellow lemon mustard gold saffron",
    "8ab446": "lime chartreuse",
    "2f9e44": "green grass leaf",
    "1f6b4a": "emerald jade",
    "7d8447": "olive moss sage khaki",
    "20a4a4": "teal turquoise cyan aqua aquamarine",
    "2463c4": "blue azure sapphire cerulean",
    "17306b": "navy indigo ultramarine cobalt",
    "7b3fb8": "purple violet amethyst plum",
    "b79be0": "lavender lilac mauve wisteria",
    "d6338a": "magenta fuchsia",
    "f195b6": "pink rosy blush",
    "7a4a2a": "brown chocolate coffee chestnut umber",
    "b5562f": "rust terracotta ochre sienna bronze",
    "e6d3b1": "beige cream ivory tan wheat",
    "f7f5ef": "white snowwhite pearl alabaster",
    "8a8f98": "grey gray silver ash slate",
    "16161a": "black ebony jet onyx obsidian",
}

#: What a species looks like when no colour is said.
SPECIES = {
    "poppy": "d9342b",
    "rose": "c8325a",
    "tulip": "e2574c",
    "daisy": "f7f3e8",
    "sunflower": "f6b81c",
    "lily": "f2d5dc",
    "lotus": "ec9cb4",
    "peony": "ea88a8",
    "dahlia": "c93a6a",
    "orchid": "b65fc0",
    "anemone": "5a5fc8",
    "lavender": "9a7fd1",
    "wolf": "6d747e",
    "raven": "16161a",
    "crow": "16161a",
    "swan": "f7f5ef",
    "dove": "f7f5ef",
    "gull": "f7f5ef",
    "seagull": "f7f5ef",
    "volcano": "5a2f2f",
}

#: Words that belong together, and the one word that they become.
PHRASES = {
    "black and white": "blackandwhite",
    "line drawing": "linedrawing",
    "line art": "lineart",
    "ink drawing": "inkdrawing",
    "pixel art": "pixelart",
    "8 bit": "8bit",
    "8-bit": "8bit",
    "low poly": "lowpoly",
    "low-poly": "lowpoly",
    "golden hour": "goldenhour",
    "blue hour": "bluehour",
    "full moon": "fullmoon",
    "milky way": "milkyway",
    "northern lights": "northernlights",
    "hot air balloon": "hotairballoon",
    "hot-air balloon": "hotairballoon",
    "cherry blossom": "cherryblossom",
    "close up": "closeup",
    "close-up": "closeup",
    "bird's eye": "birdseye",
    "bird’s eye": "birdseye",
    "birds eye": "birdseye",
    "top down": "topdown",
    "top-down": "topdown",
    "oil painting": "oilpainting",
    "van gogh": "vangogh",
    "pop art": "popart",
    "pine tree": "pine",
    "fir tree": "fir",
    "palm tree": "palm",
    "stormy sea": "stormysea waves sea",
    "stormy ocean": "stormysea waves sea",
    "rough sea": "stormysea waves sea",
}

EMOJI = {
    "🌊": "wave",
    "⛰🏔🗻🌋": "mountain",
    "🌲🌳": "forest",
    "🌴🏝": "palm sea",
    "🌙🌕🌝🌛": "moon",
    "☀🌞": "sun",
    "🌅🌇": "sunset sea",
    "⭐🌟✨🌠": "star",
    "🌌": "galaxy",
    "🪐": "planet",
    "🌸🌹🌺🌻🌷🌼💐": "flower",
    "🏠🏡": "house",
    "🏙🌆🌃": "city",
    "🐱🐈😺": "cat",
    "🦊🐺": "fox",
    "🐦🕊🦅": "bird",
    "❄☃⛄": "snow",
    "🌧☔": "rain",
    "🔥💥🎆": "fire",
    "⛵🚢": "boat",
    "🎈": "balloon",
    "🏜": "desert",
    "🎵🎶": "music",
    "💎": "crystal",
}

DENIALS = frozenset({"no", "without", "not", "never"})
ARTICLES = frozenset({"a", "an", "the", "any"})


@cache
def meanings() -> dict[str, tuple[tuple[str, str], ...]]:
    """Every known word with its (category, concept) pairs."""
    found: dict[str, list[tuple[str, str]]] = {}
    groups = {"thing": THINGS, "hour": HOURS, "season": SEASONS, "mood": MOODS, "style": STYLES, "framing": FRAMINGS}
    for category, concepts in {**groups, "colour": COLOURS}.items():
        for concept, words in concepts.items():
            # A concept is a word for itself ("sea", "dusk"), a colour's digits are not.
            for word in sorted({*words.split(), *([] if category == "colour" else [concept])}):
                found.setdefault(word, []).append((category, concept))
    return {word: tuple(pairs) for word, pairs in found.items()}
