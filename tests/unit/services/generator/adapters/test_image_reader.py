"""Bytes, base64 and addresses become the same thing: encoded images within bounds."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason

from services.generator.adapters.images import reader as image_reader
from services.generator.adapters.images.guarded_fetch import GuardedFetch
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.domain.provider_results import ImageSource, StageError
from tests.support.generator.decoder import decoder
from tests.support.generator.fakes import Provider, made
from tests.support.images.image_comparison import draw

PICTURE = draw("a red house")
PROVIDER = Provider(made())


class Fetch(GuardedFetch):
    """Gives what the test wants instead of fetching."""

    def __init__(self, answer: bytes | StageError = PICTURE) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def fetch(self, url: str, **options: Any) -> bytes:
        """The answer."""
        self.asked.append((url, options))
        if isinstance(self.answer, StageError):
            raise self.answer
        return self.answer


@pytest.fixture
async def fetch() -> AsyncIterator[Fetch]:
    """An internet of one answer."""
    opened = Fetch()
    yield opened
    await opened.close()


@pytest.fixture
def reader(fetch: Fetch) -> GuardedImageReader:
    """The reader in front of it."""
    return GuardedImageReader(fetch, decoder())


@pytest.mark.parametrize(
    "source",
    [
        ImageSource(data=PICTURE),
        ImageSource(base64=base64.b64encode(PICTURE).decode()),
        ImageSource(base64=f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"),
        ImageSource(url=f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"),
        ImageSource(url="https://pictures.example/1.png"),
        ImageSource(base64=base64.encodebytes(PICTURE).decode()),
        ImageSource(base64=base64.urlsafe_b64encode(PICTURE).decode().rstrip("=")),
    ],
    ids=["bytes", "base64", "data url as base64", "data url", "url", "in lines", "URL-safe without padding"],
)
async def test_whatever_form_an_image_comes_in_its_bytes_are_the_same(
    reader: GuardedImageReader, source: ImageSource
) -> None:
    assert await reader.read(source, provider=PROVIDER) == PICTURE


async def test_the_provider_says_which_private_addresses_are_trusted(reader: GuardedImageReader, fetch: Fetch) -> None:
    provider = Provider(made())
    provider.trusted_host = "own.example:8188"
    await reader.read(ImageSource(url="http://own.example:8188/1.png"), provider=provider)
    [(_, options)] = fetch.asked

    assert (options["trusted_host"], options["allow_private"]) == ("own.example:8188", False)


@pytest.mark.parametrize("text", ["!!!", "abcde", "data:image/png;base64,äöü"])
async def test_what_is_no_base64_is_no_image(reader: GuardedImageReader, text: str) -> None:
    with pytest.raises(StageError) as refusal:
        await reader.read(ImageSource(base64=text), provider=PROVIDER)
    assert (refusal.value.stage, refusal.value.reason) == ("GENERATING", "INVALID_IMAGE")


async def test_more_bytes_than_an_image_may_have_are_refused_before_they_are_decoded(
    reader: GuardedImageReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_reader, "MAX_IMAGE_BYTES", 1000)
    for source in (ImageSource(data=b"x" * 1001), ImageSource(base64="x" * 1400)):
        with pytest.raises(StageError) as refusal:
            await reader.read(source, provider=PROVIDER)
        assert (refusal.value.code, refusal.value.reason) == ("PERMANENT", "TOO_LARGE")


async def test_an_input_image_trusts_no_private_address_and_is_bounded(
    reader: GuardedImageReader, fetch: Fetch
) -> None:
    assert await reader.read_input("https://caller.example/1.png") == PICTURE
    assert fetch.asked == [("https://caller.example/1.png", {"max_bytes": 20 * 1024 * 1024})]


async def test_an_input_that_is_no_image_is_the_requests_fault(reader: GuardedImageReader) -> None:
    assert (await reader.prepare_input(PICTURE)).data.startswith(PICTURE[:8])
    with pytest.raises(StageError) as refusal:
        await reader.prepare_input(b"<html>")
    assert (refusal.value.stage, refusal.value.code, refusal.value.reason) == (
        "PROCESSING",
        "PERMANENT",
        "INVALID_INPUT",
    )


async def test_an_input_that_cannot_be_fetched_fails_before_anything_is_bought(
    reader: GuardedImageReader, fetch: Fetch
) -> None:
    fetch.answer = StageError(code=Code.TEMPORARY, reason=Reason.FETCH_FAILED, message="away", retryable=True)
    with pytest.raises(StageError) as refusal:
        await reader.read_input("https://caller.example/1.png")
    assert (refusal.value.stage, refusal.value.reason, refusal.value.retryable) == ("PROCESSING", "FETCH_FAILED", True)
