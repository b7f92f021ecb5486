"""Our BlurHash is that of the library `blurhash`, which is slow, for any thumbnail."""

import blurhash as library
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generator.adapters.images.decoding import blurhash

Pixel = tuple[int, int, int]
SIDES = st.integers(1, 12)
PIXELS = st.tuples(*[st.integers(0, 255)] * 3)


def by_library(pixels: list[Pixel], width: int) -> str:
    rows = [pixels[start : start + width] for start in range(0, len(pixels), width)]
    return str(library.encode(rows, *blurhash.COMPONENTS))


def ours(pixels: list[Pixel], width: int) -> str:
    return blurhash.encoded(bytes(value for pixel in pixels for value in pixel), width)


@settings(max_examples=60)
@given(data=st.data(), width=SIDES, height=SIDES)
def test_any_thumbnail_has_the_hash_of_the_library(data: st.DataObject, width: int, height: int) -> None:
    pixels = data.draw(st.lists(PIXELS, min_size=width * height, max_size=width * height))
    assert ours(pixels, width) == by_library(pixels, width)


@given(pixel=PIXELS, width=SIDES, height=SIDES)
def test_a_plain_image_has_the_hash_of_the_library(pixel: Pixel, width: int, height: int) -> None:
    pixels = [pixel] * (width * height)
    assert ours(pixels, width) == by_library(pixels, width)


def test_a_gradient_and_an_edge_at_full_size_have_the_hash_of_the_library() -> None:
    gradient = [(x * 8, y * 8, 255 - x * 4 - y * 4) for y in range(32) for x in range(32)]
    edge = [(255, 255, 255) if x < 16 else (0, 0, 0) for _ in range(32) for x in range(32)]
    for pixels in (gradient, edge):
        assert ours(pixels, 32) == by_library(pixels, 32)
