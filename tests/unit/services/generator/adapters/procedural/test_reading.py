"""How prompts are read."""

import pytest

from services.generator.adapters.providers.procedural.drawing.composition import plan
from services.generator.adapters.providers.procedural.drawing.layers.person import portrait
from services.generator.adapters.providers.procedural.drawing.paint.colour import rgb
from services.generator.adapters.providers.procedural.drawing.prompt.reading import read
from services.generator.adapters.providers.procedural.drawing.scene import stage

RED = rgb("d62828")


def layers(prompt: str, negative: str | None = None) -> list[str]:
    return [layer.__name__ for layer in plan(stage(read(prompt, negative), 1, 1.0))]


def test_subjects_hour_season_mood_and_style_are_told_apart() -> None:
    reading = read("Watercolor of a calm lake and mountains, autumn dusk", None)
    assert reading.things == ("lake", "mountain")
    assert (reading.hour, reading.season, reading.style) == ("dusk", "autumn", "watercolor")
    assert reading.moods == ("calm",)


@pytest.mark.parametrize(
    ("prompt", "thing"),
    [
        ("mountains", "mountain"),
        ("two foxes", "fox"),
        ("CITIES", "city"),
        ("🌊", "waves"),
        ("hot air balloons", "balloon"),
    ],
)
def test_plurals_capitals_emoji_and_phrases_are_known(prompt: str, thing: str) -> None:
    assert thing in read(prompt, None).things


def test_a_colour_belongs_to_the_subject_that_follows_it() -> None:
    reading = read("a red house by a lake", None)
    assert reading.tints == {"house": RED}


def test_a_coloured_sky_colours_the_picture_and_no_subject() -> None:
    reading = read("a red sky over the sea", None)
    assert "clouds" not in reading.tints
    assert reading.colours == (RED,)


@pytest.mark.parametrize("prompt", ["a hill without a sun", "a hill, no sun"])
def test_words_of_denial_work_as_a_negative_prompt_does(prompt: str) -> None:
    reading = read(prompt, None)
    assert not reading.allows("sun")
    assert "sun" not in reading.things


def test_what_is_refused_is_not_painted() -> None:
    assert "cat" in layers("a cat in the rain")
    assert "cat" not in layers("a cat in the rain", "cat")
    assert "rain" not in layers("a cat in the rain", "rain")


def test_far_things_are_painted_before_near_ones() -> None:
    order = layers("a cat before a house, mountains, stars and snow")
    assert [name for name in order if name in ("stars", "mountains", "house", "cat", "snow")] == [
        "stars",
        "mountains",
        "house",
        "cat",
        "snow",
    ]


@pytest.mark.parametrize(
    ("prompt", "layer"),
    [
        ("a red poppy, macro", "macro"),
        ("a field of poppies", "meadow"),
        ("aerial view of an island", "aerial"),
        ("saturn", "planet"),
        ("portrait of a queen", portrait.__name__),
        ("jazz music", "ribbons"),
        ("bauhaus geometry", "geometry"),
        ("a lake", "mirror"),
        ("a storm at sea", "sea"),
        ("northern lights", "aurora"),
    ],
)
def test_words_choose_the_composition(prompt: str, layer: str) -> None:
    assert layer in layers(prompt)


def test_a_prompt_of_unknown_words_becomes_an_abstract_picture() -> None:
    assert layers("quux frobnicate") in [
        [name] for name in ("geometry", "ribbons", "marble", "rings", "burst", "facets")
    ]
