"""Objects that an emulator of an older version left are there as they were."""

import json
import os
from pathlib import Path

import pytest

from cli.stack.object_store.content import Digests
from cli.stack.object_store.emulator_import import import_objects
from cli.stack.object_store.store import Missing, Store

PICTURE, BYTES = "jobs/job_1/0-abc.png", b"picture"
#: As it was written, but for what nothing here reads.
TOLD = {
    "ContentType": "image/png",
    "CacheControl": "public, max-age=86400, immutable",
    "Crc32c": "qHnOmw==",
    "Md5Hash": "Ehjaagh25P0IWmwICP7d6w==",
    "Metadata": {"sha256": "x"},
    "Generation": 1795787043898889,
}


def left(folder: Path, bucket: str, name: str, data: bytes = BYTES) -> Path:
    """A file as the emulator wrote it, without what is known of it."""
    file = folder / bucket / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    (folder / f"{bucket}.bucketMetadata").write_text("{}", encoding="utf-8")
    return file


def read(store: Store, bucket: str, name: str) -> bytes:
    """Its bytes."""
    _, file = store.open(bucket, name)
    with file:
        return file.read()


@pytest.mark.parametrize("where", ["attribute", "file"])
def test_an_object_comes_with_all_that_is_known_of_it(tmp_path: Path, where: str) -> None:
    file = left(tmp_path, "public", PICTURE)
    if where == "attribute":
        try:
            os.setxattr(file, "user.metadata", json.dumps(TOLD).encode())
        except (OSError, AttributeError):
            pytest.skip("no extended attributes here")
    else:
        file.with_name(f"{file.name}.metadata").write_text(json.dumps(TOLD), encoding="utf-8")
    store = Store(tmp_path)

    assert import_objects(store, tmp_path, ["public", "staging"]) == 1
    found = store.stat("public", PICTURE)
    assert (found.content_type, found.cache_control) == (TOLD["ContentType"], TOLD["CacheControl"])
    assert (found.crc32c, found.md5, found.size) == (TOLD["Crc32c"], TOLD["Md5Hash"], len(BYTES))
    assert found.metadata == {"sha256": "x"}
    assert read(store, "public", PICTURE) == BYTES
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("public")]
    assert import_objects(store, tmp_path, ["public", "staging"]) == 0
    store.close()


def test_an_object_of_which_nothing_is_known_any_more_is_what_its_name_says(tmp_path: Path) -> None:
    left(tmp_path, "public", PICTURE)
    store = Store(tmp_path)
    import_objects(store, tmp_path, ["public"])
    found, digests = store.stat("public", PICTURE), Digests()
    digests.update(BYTES)

    assert (found.content_type, found.md5, found.crc32c) == ("image/png", digests.md5, digests.crc32c)
    store.close()


def test_what_a_crash_left_on_both_sides_is_here_and_no_longer_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left(tmp_path, "public", PICTURE)
    import_objects(store, tmp_path, ["public"])
    # The row was written, the file not yet removed.
    left(tmp_path, "public", PICTURE, b"picture")
    left(tmp_path, "public", "jobs/job_2/0-abc.png", b"second")
    import_objects(store, tmp_path, ["public"])

    assert read(store, "public", PICTURE) == BYTES
    assert read(store, "public", "jobs/job_2/0-abc.png") == b"second"
    assert not (tmp_path / "public").exists()
    store.close()


def test_a_link_is_no_object_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"secret")
    data = tmp_path / "data"
    store = Store(data)
    left(data, "public", PICTURE)
    (data / "public" / "stolen").symlink_to(elsewhere)
    (data / "staging").symlink_to(tmp_path)

    assert import_objects(store, data, ["public", "staging"]) == 1
    with pytest.raises(Missing):
        store.stat("public", "stolen")
    assert elsewhere.read_bytes() == b"secret"
    store.close()
