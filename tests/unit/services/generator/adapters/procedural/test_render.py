"""What `render` promises about its files."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.generator.adapters.providers.procedural.drawing import render
from tests.support.images.image_comparison import distance, draw, opened
from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[6]
PROMPT = "a lighthouse above a stormy sea at dusk"
DRAW_ELSEWHERE = """
import hashlib, sys
from services.generator.adapters.providers.procedural.drawing import render
for kind in ("png", "jpeg", "webp"):
    file = render(prompt=sys.argv[1], negative_prompt="cat", seed=5, width=96, height=128, output_format=kind)
    print(hashlib.sha256(file).hexdigest())
"""


def drawn_in_another_process(hash_seed: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", DRAW_ELSEWHERE, PROMPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return done.stdout.split()


def test_two_processes_draw_the_same_bytes_in_every_format() -> None:
    first, second = drawn_in_another_process("1"), drawn_in_another_process("2")
    assert first == second
    assert len(set(first)) == 3


def test_a_second_call_in_one_process_draws_the_same_bytes() -> None:
    draw("something else first")
    assert hashlib.sha256(draw(PROMPT)).digest() == hashlib.sha256(draw(PROMPT)).digest()


@pytest.mark.parametrize("prompt", [PROMPT, "fox in the snow", "abstract geometry", "quux"])
def test_another_seed_draws_another_picture(prompt: str) -> None:
    # Measured over many seeds: 8 and more.
    assert distance(draw(prompt, seed=1), draw(prompt, seed=2)) > 4


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**63 - 1, 2**64, -1])
def test_every_whole_number_is_a_seed(seed: int) -> None:
    assert opened(draw(PROMPT, seed=seed)).size == (160, 160)


@pytest.mark.parametrize("size", [(64, 64), (65, 201), (640, 64), (64, 640), (333, 250)])
@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT,
        "a cat, a tree and a house, oil painting",
        "neon city in the rain",
        "aerial map of a lake",
        "ringed planet",
        "pixel art of a castle",
        "portrait of a woman",
        "crystal",
        "watercolor of a village by a river in the forest",
        "blueprint of a boat under an aurora",
    ],
)
def test_the_picture_has_exactly_the_size_that_was_asked_for(prompt: str, size: tuple[int, int]) -> None:
    assert opened(draw(prompt, width=size[0], height=size[1])).size == size


def test_the_largest_picture_is_drawn() -> None:
    assert opened(draw("a quiet sea", width=2048, height=2048, output_format="jpeg")).size == (2048, 2048)


@pytest.mark.parametrize(("width", "height"), [(63, 100), (100, 63), (2049, 100), (100, 0)])
def test_a_size_out_of_bounds_is_refused_by_name(width: int, height: int) -> None:
    side = "width" if width in (63, 2049) else "height"
    with pytest.raises(ValueError, match=rf"^{side} must be 64..2048"):
        draw(PROMPT, width=width, height=height)


@pytest.mark.parametrize(("kind", "decoded"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_each_format_decodes_as_what_it_claims_to_be(kind: str, decoded: str) -> None:
    image = opened(draw(PROMPT, output_format=kind))
    assert (image.format, image.mode) == (decoded, "RGB")


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_formats_show_the_same_picture(kind: str) -> None:
    assert distance(draw(PROMPT), draw(PROMPT, output_format=kind)) < 2


def test_sizes_show_the_same_picture() -> None:
    large, small = draw(PROMPT, width=640, height=640), draw(PROMPT, width=320, height=320)
    assert distance(large, small) < 8 < distance(large, draw(PROMPT, seed=8, width=320, height=320))


def test_a_png_says_in_text_what_drew_it() -> None:
    assert dict(opened(draw(PROMPT, seed=42)).info)["Software"] == "Calotype procedural"
    assert dict(opened(draw(PROMPT, seed=42)).info)["Seed"] == "42"
    description = "Synthetic picture drawn by rules from the prompt; not made by AI"
    assert dict(opened(draw(PROMPT, seed=42)).info)["Description"] == description


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_jpeg_and_webp_say_in_exif_what_drew_them(kind: str) -> None:
    exif = opened(draw(PROMPT, seed=42, output_format=kind)).getexif()
    assert exif[0x0131] == "Calotype procedural"
    assert exif[0x010E] == "Synthetic picture drawn by rules from the prompt; not made by AI"
    assert exif.get_ifd(0x8769)[0x9286] == b"ASCII\0\0\0Seed: 42"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_format_carries_the_source_type_in_xmp(kind: str) -> None:
    file = draw(PROMPT, seed=42, output_format=kind)
    assert b"digitalsourcetype/algorithmicMedia" in file
    assert b"Seed: 42" in file


@pytest.mark.parametrize("prompt", [PROMPT, "abstract rings", "aerial", "x"])
def test_progress_rises_from_0_to_1_in_at_least_eight_reports(prompt: str) -> None:
    heard: list[float] = []
    draw(prompt, progress=heard.append)
    assert len(heard) >= 8
    assert heard == sorted(set(heard))
    assert (heard[0], heard[-1]) == (0.0, 1.0)


class StopDrawing(Exception):
    """Raised by a listener that has heard enough."""


@pytest.mark.parametrize("after", [1, 4, 8])
def test_what_progress_raises_stops_the_drawing(after: int) -> None:
    heard: list[float] = []

    def listen(share: float) -> None:
        heard.append(share)
        if len(heard) == after:
            raise StopDrawing

    with pytest.raises(StopDrawing):
        draw(PROMPT, progress=listen)
    assert len(heard) == after


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "   \n\t ",
        "🌊🌙",
        "🦄🧿🫠",
        "جبل أزرق تحت القمر",
        "青い山と静かな湖",
        "\ud800 lone surrogate \x00 and control \x1b",
        "sea " * 8000,
        "ﷺ" * 32_000,
        "no no without not",
        "-- '; DROP TABLE jobs; <script>",
    ],
    ids=["empty", "blank", "emoji", "unknown", "rtl", "cjk", "surrogate", "long", "ligatures", "denials", "markup"],
)
def test_a_strange_prompt_still_gives_a_picture(prompt: str) -> None:
    picture = opened(
        render(prompt=prompt, negative_prompt=prompt[:50], seed=1, width=96, height=96, output_format="png")
    )
    assert np.ptp(np.asarray(picture.convert("L"), dtype=np.int32)) > 40, "the picture is not blank"


def test_different_unknown_words_give_different_pictures() -> None:
    assert distance(draw("quux"), draw("xyzzy")) > 8


def test_the_prompt_stays_out_of_the_file() -> None:
    file = draw("lighthouse of my secret client", output_format="jpeg")
    assert b"secret" not in file
    assert isinstance(opened(file), Image.Image)
