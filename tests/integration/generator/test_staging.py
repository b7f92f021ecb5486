"""Staging on the real store's rules: the first writer wins, and metadata says all that a successor needs."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from common.object_store import ObjectConflict, ObjectStore, StorageUnavailable
from services.generator.adapters.gcs_staging import GcsStaging
from tests.support.generator.fakes import staged
from tests.support.proxies.storage_proxy import Fault, StorageProxy

FIRST = replace(staged(0), size_bytes=5, seed=7, revised_prompt="ein Hafen – früh", c2pa=True)


@pytest.fixture
async def store(proxy: StorageProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ObjectStore]:
    """The staging bucket, as the generator."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls["generator"])
    opened = ObjectStore(proxy.staging, threads=2)
    yield opened
    await opened.close()


async def test_what_was_staged_is_found_again_with_everything_that_is_known_of_it(store: ObjectStore) -> None:
    staging = GcsStaging(store)
    second = replace(FIRST, index=1, name="job_1/call_old/1", seed=None, revised_prompt=None)
    for image in (FIRST, second):
        assert await staging.put(image, b"bytes", count=2) == image

    found, count = await staging.of_call("job_1", "call_old")

    assert (sorted(found, key=lambda image: image.index), count) == ([FIRST, second], 2)
    assert await staging.of_call("job_1", "call_new") == ([], 0)


async def test_a_second_writer_adopts_what_the_first_wrote(store: ObjectStore) -> None:
    staging = GcsStaging(store)
    await staging.put(FIRST, b"bytes", count=1)
    later = replace(FIRST, sha256="f" * 64, size_bytes=6, seed=8)

    assert await staging.put(later, b"others", count=1) == FIRST
    assert await store.get(FIRST.name) == b"bytes"


async def test_a_write_whose_answer_was_lost_is_repeated_without_harm(store: ObjectStore, proxy: StorageProxy) -> None:
    staging = GcsStaging(store)
    proxy.order(Fault.LOSE_RESPONSE, on="upload")
    with pytest.raises(StorageUnavailable):
        await staging.put(FIRST, b"bytes", count=1)

    assert await staging.put(FIRST, b"bytes", count=1) == FIRST
    assert await staging.of_call("job_1", "call_old") == ([FIRST], 1)


async def test_an_object_of_somebody_else_is_no_image_of_ours(store: ObjectStore) -> None:
    await store.put(FIRST.name, b"other", content_type="image/png", metadata={"index": "no json"})
    staging = GcsStaging(store)

    with pytest.raises(ObjectConflict):
        await staging.put(FIRST, b"bytes", count=1)
    assert await staging.of_call("job_1", "call_old") == ([], 0)


async def test_words_that_are_too_long_for_the_store_do_not_cost_the_picture(store: ObjectStore) -> None:
    staging = GcsStaging(store)
    wordy = replace(FIRST, revised_prompt="ü" * 32_000)
    await staging.put(wordy, b"bytes", count=1)

    assert await staging.of_call("job_1", "call_old") == ([replace(wordy, revised_prompt=None)], 1)


async def test_what_is_staged_as_it_came_is_found_again_and_is_no_image_of_the_call(store: ObjectStore) -> None:
    staging = GcsStaging(store)
    await staging.put(FIRST, b"bytes", count=2)
    await staging.put_raw("job_1/call_old/raw/1", b"half")
    with pytest.raises(ObjectConflict):
        await staging.put_raw("job_1/call_old/raw/1", b"other")

    [raw] = await staging.raw_of_call("job_1", "call_old")
    assert (raw.part, raw.size_bytes, await staging.get_raw(raw.name)) == ("1", 4, b"half")
    assert await staging.of_call("job_1", "call_old") == ([FIRST], 2)
    assert await staging.raw_of_call("job_1", "call_new") == []
    [found] = await store.find(raw.name)
    assert found.content_type == "application/octet-stream"
