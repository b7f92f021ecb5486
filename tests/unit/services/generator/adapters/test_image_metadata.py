"""Metadata is taken out of an image while its pixels, its colours and its provenance stay as they are."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from services.generator.adapters.images.guarded_fetch import GuardedFetch
from services.generator.adapters.images.metadata import without_metadata
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.adapters.providers.a1111.entry import A1111Entry
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.kinds import ProviderEntry
from tests.support.generator.decoder import decoder, inspect, prepared

SECRET = b"SECRET-of-the-operator"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMS = {"PNG": ("RGB", "RGBA", "P", "L", "1", "I;16"), "JPEG": ("RGB", "L", "CMYK"), "WEBP": ("RGB", "RGBA")}
KINDS = [(form, mode) for form, modes in FORMS.items() for mode in modes]
C2PA = b"jumb" + b"c2pa" * 8


def drawn(mode: str, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """Noise, so that each byte of its data counts."""
    noise = Image.frombytes("L", size, random.Random(7).randbytes(size[0] * size[1]))
    return noise.convert("I").convert("I;16") if mode == "I;16" else noise.convert("RGB").convert(mode)


def telling(form: str, mode: str, *, turn: int | None = None, **options: Any) -> bytes:
    """An image that tells whatever its format can."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = SECRET.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = SECRET.decode()
    if turn is not None:
        exif[ExifTags.Base.Orientation] = turn
    if form == "PNG":
        texts = PngInfo()
        texts.add_text("prompt", SECRET.decode())
        texts.add_text("workflow", SECRET.decode(), zip=True)
        texts.add_itxt("parameters", SECRET.decode())
        options["pnginfo"] = texts
    file = io.BytesIO()
    profile = PROFILE if mode in ("RGB", "RGBA", "P") else None
    drawn(mode).save(
        file, form, exif=exif, icc_profile=profile, xmp=b"<x>" + SECRET + b"</x>", comment=SECRET, **options
    )
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    """Decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def texts_of(data: bytes) -> list[bytes]:
    """All that is readable in a file, unpacked where it is packed."""
    found = [data]
    for place in range(len(data)):
        if data.startswith((b"\x78\x9c", b"\x78\xda"), place):
            try:
                found.append(zlib.decompressobj().decompress(data[place:], 100_000))
            except zlib.error:
                continue
    return found


def tells(data: bytes) -> bool:
    """Whether the secret is in it."""
    return any(SECRET in text for text in texts_of(data))


@pytest.mark.parametrize(("form", "mode"), KINDS)
@pytest.mark.parametrize("turn", [None, 1, 3, 6])
def test_pixels_colours_and_the_way_up_stay_and_nothing_else(form: str, mode: str, turn: int | None) -> None:
    data = telling(form, mode, turn=turn)
    assert tells(data)
    bare = without_metadata(data, keep_provenance=True)
    assert bare is not None

    before, after = opened(data), opened(bare)
    assert not tells(bare)
    assert (after.mode, after.size, after.tobytes()) == (before.mode, before.size, before.tobytes())
    assert after.info.get("icc_profile") == before.info.get("icc_profile")
    assert after.info.get("transparency") == before.info.get("transparency")
    assert dict(after.getexif()) == ({} if turn in (None, 1) else {ExifTags.Base.Orientation: turn})
    # Nothing more can be taken out.
    assert without_metadata(bare, keep_provenance=True) == bare


@given(
    some.sampled_from(KINDS),
    some.sampled_from([None, *range(1, 9)]),
    some.sampled_from([{}, {"progressive": True}, {"quality": 100, "subsampling": 0}, {"lossless": True}]),
    some.binary(max_size=80),
)
def test_whatever_an_image_is_made_of_its_pixels_stay(
    kind: tuple[str, str], turn: int | None, options: dict[str, Any], behind: bytes
) -> None:
    data = telling(*kind, turn=turn, **options)
    bare = without_metadata(data + behind, keep_provenance=False)
    assert bare is not None
    assert not tells(bare)
    assert opened(bare).tobytes() == opened(data).tobytes()


@given(some.data(), some.sampled_from(KINDS))
def test_of_damaged_files_either_the_same_pixels_come_or_none(data: some.DataObject, kind: tuple[str, str]) -> None:
    whole = telling(*kind)
    spoilt = bytearray(whole)
    for _ in range(data.draw(some.integers(1, 4))):
        spoilt[data.draw(some.integers(0, len(spoilt) - 1))] = data.draw(some.integers(0, 255))
    end = data.draw(some.integers(1, len(spoilt)))
    came = bytes(spoilt[:end])
    # It never raises, and never takes long.
    bare = without_metadata(came, keep_provenance=True)
    if bare is None:
        return
    try:
        before = opened(came)
    except Exception:  # noqa: BLE001 - no image before, and so of no interest
        return
    if before.format in FORMS:
        assert opened(bare).size == before.size


def with_c2pa(form: str) -> bytes:
    """An image with a manifest of its origin."""
    data = telling(form, "RGB")
    match form:
        case "PNG":
            chunk = b"caBX" + C2PA
            return data[:33] + struct.pack(">I", len(C2PA)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
        case "JPEG":
            segment = b"JP\0\1\0\0\0\1" + C2PA
            return data[:2] + b"\xff\xeb" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
        case _:
            body = data[8:] + b"C2PA" + struct.pack("<I", len(C2PA)) + C2PA
            return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("form", FORMS)
def test_a_manifest_of_origin_is_kept_of_results_and_taken_out_of_inputs(form: str) -> None:
    data = with_c2pa(form)
    of_result, of_input = (without_metadata(data, keep_provenance=keeps) for keeps in (True, False))

    assert of_result is not None
    assert of_input is not None
    assert C2PA in of_result
    assert not tells(of_result)
    assert C2PA not in of_input


@pytest.mark.parametrize("name", ["gAMA", "cHRM", "sRGB", "sBIT", "cICP", "mDCV", "cLLI", "pHYs"])
def test_what_says_how_a_png_is_shown_stays(name: str) -> None:
    data, content = telling("PNG", "L"), bytes(9)
    chunk = name.encode() + content
    whole = data[:33] + struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    bare = without_metadata(whole, keep_provenance=False)

    assert bare is not None
    assert chunk in bare


def _second_picture() -> bytes:
    file = io.BytesIO()
    told = Image.Exif()
    told[ExifTags.Base.Make] = SECRET.decode()
    drawn("RGB").save(file, "MPO", save_all=True, append_images=[drawn("RGB")], exif=told)
    return file.getvalue()


def test_of_several_pictures_in_one_file_the_first_stays() -> None:
    bare = without_metadata(_second_picture(), keep_provenance=False)
    assert bare is not None
    assert opened(bare).format == "JPEG"
    assert opened(bare).tobytes() == opened(_second_picture()).tobytes()
    assert not tells(bare)


@pytest.mark.parametrize(
    "cut", [lambda data: data[:-12], lambda data: data[:-5]], ids=["without its end", "half of it"]
)
def test_a_png_that_lacks_its_end_is_taken_apart_all_the_same(cut: Callable[[bytes], bytes]) -> None:
    bare = without_metadata(cut(telling("PNG", "RGB")), keep_provenance=True)
    assert bare is not None
    assert not tells(bare)


async def test_results_are_bare_where_their_providers_entry_says_so_and_as_they_came_elsewhere() -> None:
    fetch = GuardedFetch()
    reader = GuardedImageReader(fetch, decoder(), stripped={"own"})
    data = telling("PNG", "RGB", turn=6)
    bare, seen = await reader.deliverable(data, provider="own")
    as_it_came, before = await reader.deliverable(data, provider="vendor")
    await fetch.close()

    assert not tells(bare)
    assert as_it_came == data
    assert (
        (seen.width, seen.height, seen.blurhash)
        == (before.width, before.height, before.blurhash)
        == (16, 24, seen.blurhash)
    )
    assert seen.sha256 != before.sha256
    assert seen == await inspect(bare)


async def test_a_result_that_cannot_be_taken_apart_is_delivered_as_it_came(caplog: pytest.LogCaptureFixture) -> None:
    # Bytes that belong to nothing lie between two segments: decoders pass over them.
    data = telling("JPEG", "RGB")
    odd = data[:20] + bytes(3) + data[20:]
    fetch = GuardedFetch()
    came, _ = await GuardedImageReader(fetch, decoder(), stripped={"own"}).deliverable(odd, provider="own")
    await fetch.close()

    assert came == odd
    assert "image.metadata_kept" in caplog.text


@pytest.mark.parametrize(("form", "mode"), KINDS)
@pytest.mark.parametrize("turn", [None, 6])
async def test_inputs_are_sent_upright_with_their_colours_and_nothing_else(
    form: str, mode: str, turn: int | None
) -> None:
    data = telling(form, mode, turn=turn)
    sent = await prepared(data)
    before, after = opened(data), opened(sent.data)

    assert sent.lost_metadata
    assert not tells(sent.data)
    assert after.format == form
    assert after.size == (before.size if turn is None else before.size[::-1])
    assert after.info.get("icc_profile") == before.info.get("icc_profile")
    assert dict(after.getexif()) == {}
    if turn is None:
        # They are not encoded anew.
        assert after.tobytes() == before.tobytes()


async def test_an_input_that_says_nothing_is_sent_as_it_came_and_nothing_is_said_of_it() -> None:
    file = io.BytesIO()
    drawn("RGB").save(file, "PNG")
    sent = await prepared(file.getvalue())

    assert (sent.data, sent.lost_metadata) == (file.getvalue(), False)


async def test_an_input_that_cannot_be_taken_apart_is_encoded_anew() -> None:
    data = telling("JPEG", "RGB")
    sent = await prepared(data[:20] + bytes(3) + data[20:])

    assert sent.lost_metadata
    assert not tells(sent.data)
    assert opened(sent.data).size == opened(data).size


def test_metadata_goes_by_default_where_it_is_the_operators_own() -> None:
    every = {entry for entry in get_args(ProviderEntry) if issubclass(entry, RemoteEntry)}

    assert len(every) > 10
    assert {one for one in every if one.model_fields["strip_metadata"].default} == {
        A1111Entry,
        ComfyUIEntry,
    }
