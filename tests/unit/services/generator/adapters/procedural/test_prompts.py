"""That pictures follow their words."""

import itertools

import pytest

from tests.support.images.image_comparison import distance, draw, mean_color
from tests.support.pages.contact_sheet import SEED, prompts

#: Mean absolute difference of 32x32 RGB thumbnails; the closest pair measured over five seeds was 27.
APART = 18.0


def test_the_prompts_of_the_contact_sheet_give_eight_clearly_different_pictures() -> None:
    drawn = {prompt: draw(prompt, seed=SEED, width=256, height=256) for prompt in prompts()}
    assert len(drawn) == 8
    apart = {pair: distance(drawn[pair[0]], drawn[pair[1]]) for pair in itertools.combinations(drawn, 2)}
    closest = min(apart, key=lambda pair: apart[pair])
    assert apart[closest] >= APART, closest


@pytest.mark.parametrize("template", ["{}", "a {} mountain", "abstract geometry in {}", "a {} sky over the sea"])
def test_red_and_blue_pull_the_mean_colour_their_way(template: str) -> None:
    red, blue = mean_color(draw(template.format("red"))), mean_color(draw(template.format("blue")))
    assert red[0] - red[2] > blue[0] - blue[2] + 20


@pytest.mark.parametrize("template", ["{}", "abstract geometry in {}", "a {} sky over the sea"])
def test_green_pulls_the_mean_colour_its_way(template: str) -> None:
    def greenness(prompt: str) -> float:
        red, green, blue = mean_color(draw(prompt))
        return green - (red + blue) / 2

    assert greenness(template.format("green")) > greenness(template.format("purple")) + 15


def test_night_is_darker_than_noon() -> None:
    assert sum(mean_color(draw("hills at night"))) < 0.6 * sum(mean_color(draw("hills at noon")))


def test_winter_is_whiter_than_summer() -> None:
    assert min(mean_color(draw("a valley in winter"))) > min(mean_color(draw("a valley in summer"))) + 10


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [
        ("mountains and the sun", "sun"),
        ("a cat on a hill", "cats"),
        ("a house by a tree", "house"),
        ("a lighthouse by the sea", "lighthouse"),
        ("stars over dunes", "dunes"),
        ("watercolor of a boat", "watercolor"),
    ],
)
def test_a_negative_prompt_removes_what_it_names_and_nothing_else(prompt: str, negative: str) -> None:
    as_asked = draw(prompt)
    assert distance(as_asked, draw(prompt, negative_prompt=negative)) > 3
    assert draw(prompt, negative_prompt="helicopter") == as_asked


def test_the_rest_of_the_picture_stays_where_it_was() -> None:
    whole, without = draw("a cat on a hill"), draw("a cat on a hill", negative_prompt="cat")
    assert distance(whole, without) < distance(whole, draw("a cat on a hill", seed=8))


@pytest.mark.parametrize(
    "manner", ["watercolor", "line drawing", "pixel art", "poster", "retro", "blueprint", "sepia", "oil painting"]
)
def test_a_manner_changes_the_picture(manner: str) -> None:
    assert distance(draw("a house"), draw(f"a house, {manner}")) > 6
