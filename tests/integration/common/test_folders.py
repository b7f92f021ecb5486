"""Many folders are emptied at once, by few lists, and nothing beside them is touched."""

from collections.abc import AsyncIterator

import pytest

from common import folders, object_store
from common.object_store import ObjectStore, StorageDenied, StorageUnavailable
from tests.support.proxies.storage_proxy import Fault, StorageProxy


@pytest.fixture
async def store(proxy: StorageProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ObjectStore]:
    """Staging."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls["generator"])
    store = ObjectStore(proxy.staging, threads=8)
    yield store
    await store.close()


async def put(store: ObjectStore, *names: str) -> None:
    """Objects of these names."""
    for name in names:
        await store.put(name, b"x", content_type="image/png", metadata={})


async def there(store: ObjectStore) -> list[str]:
    """Every name."""
    return [one.name for one in await store.find("")]


async def test_folders_are_emptied_by_two_lists_and_their_neighbours_stay(
    proxy: StorageProxy, store: ObjectStore
) -> None:
    kept = ["job_0/c/0", "job_10/c/0", "job_2/c/0", "job_20/c/0", "job_4/c/0"]
    await put(store, *kept, "job_1/c/0", "job_1/c/1", "job_3/c/0", "job_3/d/0")
    ends = await folders.empty(store, ["job_3/", "job_1/", "job_22/"], {})

    assert ends == {"job_1/": 2, "job_22/": 0, "job_3/": 2}
    assert proxy.count("list") == 2
    assert await there(store) == kept


async def test_objects_whose_names_are_known_are_deleted_without_a_list(
    proxy: StorageProxy, store: ObjectStore
) -> None:
    await put(store, "job_1/c/0", "job_1/c/1", "job_2/c/0")
    ends = await folders.empty(store, [], {"job_1/": ["job_1/c/0", "job_1/c/7"], "job_2/": ["job_2/c/0"]})

    assert ends == {"job_1/": 2, "job_2/": 1}
    assert proxy.count("list") == 0
    assert await there(store) == ["job_1/c/1"]


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_folders_with_more_than_a_page_between_and_within_them_are_emptied(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    for module in (folders, object_store):
        monkeypatch.setattr(module, "PAGE", page)
    kept = [f"job_2/c/{at}" for at in range(4)]
    await put(store, *kept, "job_1/c/0", *(f"job_3/c/{at}" for at in range(5)), "job_4/c/0")
    ends = await folders.empty(store, ["job_1/", "job_3/", "job_4/"], {})

    monkeypatch.undo()
    assert ends == {"job_1/": 1, "job_3/": 5, "job_4/": 1}
    assert await there(store) == kept


async def test_a_folder_whose_object_cannot_be_deleted_holds_up_no_other(
    proxy: StorageProxy, store: ObjectStore
) -> None:
    await put(store, "job_1/c/0", "job_2/c/0", "job_3/c/0")
    proxy.order(Fault.UNAVAILABLE, on="delete")
    ends = await folders.empty(store, ["job_1/", "job_2/", "job_3/"], {})

    assert sorted(type(end).__name__ for end in ends.values()) == ["StorageUnavailable", "int", "int"]
    [left] = await there(store)
    assert isinstance(ends[left[:6]], StorageUnavailable)


async def test_folders_that_cannot_be_seen_are_not_empty(proxy: StorageProxy, store: ObjectStore) -> None:
    proxy.go_away()
    ends = await folders.empty(store, ["job_1/", "job_2/"], {})
    proxy.come_back()

    assert {type(end) for end in ends.values()} == {StorageUnavailable}


async def test_a_store_that_refuses_us_is_told(proxy: StorageProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.urls["uploader"])
    stranger = ObjectStore(proxy.staging, threads=1)
    [end] = (await folders.empty(stranger, ["job_1/"], {})).values()
    await stranger.close()

    assert isinstance(end, StorageDenied)
