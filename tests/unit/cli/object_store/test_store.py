"""Objects and their files: what a crash leaves between two steps is put in order at the next start."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.object_store.description import Description
from cli.stack.object_store.index import Index, PreconditionFailed, StoredObject
from cli.stack.object_store.names import InvalidName
from cli.stack.object_store.store import Missing, Store

FACTS = {"size": 3, "md5": "m", "crc32c": "c", "content_type": "image/png", "cache_control": None, "metadata": {}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path)
    yield opened
    opened.close()


def put(store: Store, name: str, data: bytes = b"abc", *, match: int | None = None) -> StoredObject:
    """Write an object."""
    incoming = store.begin()
    incoming.write(data)
    return store.put(incoming, "b", Description(name=name), generation_match=match)


def read(store: Store, name: str) -> bytes:
    """Its bytes."""
    _, file = store.open("b", name)
    with file:
        return file.read()


def files(folder: Path) -> list[bytes]:
    """Bytes of all files that objects could have."""
    return sorted(
        one.read_bytes() for kind in ("incoming", "contents") for one in (folder / kind).rglob("*/*") if one.is_file()
    )


def test_a_file_whose_object_was_confirmed_and_that_was_not_moved_yet_is_moved(tmp_path: Path) -> None:
    store = Store(tmp_path)
    incoming = store.begin()
    incoming.write(b"abc")
    incoming.sync()
    store.close()
    index = Index(tmp_path / "index.db")
    index.write(StoredObject(bucket="b", name="a", content=incoming.content, **FACTS), generation_match=0)
    index.close()
    again = Store(tmp_path)

    assert read(again, "a") == b"abc"
    assert list((tmp_path / "incoming").iterdir()) == []
    again.close()


def test_a_file_that_became_no_object_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    incoming = store.begin()
    incoming.write(b"abc")
    incoming.sync()
    store.close()
    Store(tmp_path).close()

    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_file_whose_object_was_deleted_and_that_was_not_removed_yet_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "a")
    store.close()
    index = Index(tmp_path / "index.db")
    index.delete("b", "a", generation_match=None)
    index.close()
    assert len(files(tmp_path)) == 1
    Store(tmp_path).close()

    assert files(tmp_path) == []


def test_bytes_that_two_objects_share_are_there_until_both_are_gone(store: Store, tmp_path: Path) -> None:
    put(store, "a")
    store.copy(("b", "a"), ("b", "c"), None, source_generation=None, generation_match=0)
    store.delete("b", "a", generation_match=None)

    assert read(store, "c") == b"abc"
    store.delete("b", "c", generation_match=None)
    assert files(tmp_path) == []


def test_what_is_replaced_leaves_no_bytes(store: Store, tmp_path: Path) -> None:
    first = put(store, "a")
    second = put(store, "a", b"other")
    with pytest.raises(PreconditionFailed):
        put(store, "a", b"third", match=first.generation)

    assert second.generation > first.generation
    assert files(tmp_path) == [b"other"]


def test_a_copy_onto_itself_keeps_its_bytes(store: Store) -> None:
    there = put(store, "a")
    store.copy(("b", "a"), ("b", "a"), None, source_generation=there.generation, generation_match=there.generation)

    assert read(store, "a") == b"abc"


def test_no_call_takes_a_name_that_no_object_may_have(store: Store, tmp_path: Path) -> None:
    put(store, "a")
    for ask in (
        lambda: put(store, "../a"),
        lambda: store.open("b", "../a"),
        lambda: store.stat("b", "../a"),
        lambda: store.delete("b", "../a", generation_match=None),
        lambda: store.copy(("b", "../a"), ("b", "c"), None, source_generation=None, generation_match=None),
        lambda: store.copy(("b", "a"), ("b", "../c"), None, source_generation=None, generation_match=None),
    ):
        with pytest.raises(InvalidName):
            ask()
    assert files(tmp_path) == [b"abc"]


def test_a_list_reads_what_it_gives_and_no_more(tmp_path: Path) -> None:
    """By the statement's own plan: a range of the index, no sorting, no look at all rows."""
    Store(tmp_path).close()
    db = sqlite3.connect(tmp_path / "index.db")
    asked = (
        "SELECT * FROM objects WHERE bucket = ? AND name >= ? AND name > ? AND (? IS NULL OR name < ?) ORDER BY name"
    )
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {asked}", ("b", "a", "a", None, None))]
    db.close()

    assert plan == ["SEARCH objects USING PRIMARY KEY (bucket=? AND name>?)"]


def test_what_is_missing_is_missing(store: Store) -> None:
    with pytest.raises(Missing):
        store.open("b", "a")
    with pytest.raises(Missing):
        store.delete("b", "a", generation_match=None)
    with pytest.raises(Missing):
        store.copy(("b", "a"), ("b", "c"), None, source_generation=None, generation_match=None)
