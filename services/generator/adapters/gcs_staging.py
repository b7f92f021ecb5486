"""Staging on Google Cloud Storage: each object's metadata says all that the ledger needs to adopt it."""

import json
from dataclasses import asdict, fields

from calotype import object_names

from common.object_store import ObjectConflict, ObjectInfo, ObjectStore
from services.generator.domain.jobs import StagedImage
from services.generator.ports import RawResult

#: The store bounds an object's metadata; words longer than this (as JSON) are left to the fact that tells of them.
MOST_WORDS = 4000
_FACTS = tuple(field.name for field in fields(StagedImage) if field.name != "name")


class GcsStaging:
    """The private staging bucket."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, image: StagedImage, data: bytes, *, count: int) -> StagedImage:
        """Write an image; what an earlier writer put there is adopted."""
        facts = {name: value for name, value in asdict(image).items() if name in _FACTS and value is not None}
        # Header values are ASCII; a revised prompt need not be.
        written = {name: json.dumps(value) for name, value in facts.items()}
        metadata = {name: text for name, text in written.items() if len(text) <= MOST_WORDS} | {"count": str(count)}
        try:
            await self._store.put(image.name, data, content_type=image.content_type, metadata=metadata)
        except ObjectConflict:
            there = await self._store.stat(image.name)
            adopted = _read(there) if there else None
            if adopted is None:
                raise
            return adopted
        return image

    async def of_call(self, job_id: str, call_id: str) -> tuple[list[StagedImage], int]:
        """The images that a call has in staging, and how many it has in all."""
        found = await self._store.find(object_names.staged_call_folder(job_id=job_id, call_id=call_id))
        images = [image for one in found if (image := _read(one)) is not None]
        counts = [int(one.metadata["count"]) for one in found if one.metadata.get("count", "").isdecimal()]
        return images, max(counts, default=0)

    async def put_raw(self, name: str, data: bytes) -> None:
        """Write something that is not known to be an image; without an image's metadata it is taken for none."""
        await self._store.put(name, data, content_type="application/octet-stream", metadata={})

    async def raw_of_call(self, job_id: str, call_id: str) -> list[RawResult]:
        """What a call has in staging of that kind."""
        folder = object_names.raw_folder(job_id=job_id, call_id=call_id)
        found = await self._store.find(folder)
        return [RawResult(name=one.name, part=one.name.removeprefix(folder), size_bytes=one.size) for one in found]

    async def get_raw(self, name: str) -> bytes:
        """The bytes of one of them."""
        return await self._store.get(name)


def _read(there: ObjectInfo) -> StagedImage | None:
    """The image that an object's metadata describes; None for an object that we did not write."""
    try:
        facts = {name: json.loads(there.metadata[name]) for name in _FACTS if name in there.metadata}
        return StagedImage(name=there.name, **facts)
    except (ValueError, TypeError):
        return None
