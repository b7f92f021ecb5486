"""Staging on Google Cloud Storage: each object's metadata holds what the ledger needs to adopt the image."""

import json
from dataclasses import asdict, fields

from calotype import object_names

from common.object_store import ObjectConflict, ObjectInfo, ObjectStore
from services.generator.domain.jobs import StagedImage
from services.generator.ports import RawResult

#: Longest value in an object's metadata, in characters of JSON, as the store bounds metadata. A longer value is left
#: out, and only the published fact has it.
MAX_VALUE_LENGTH = 4000
_FIELDS = tuple(field.name for field in fields(StagedImage) if field.name != "name")


class GcsStaging:
    """The private staging bucket."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, image: StagedImage, data: bytes, *, count: int) -> StagedImage:
        """Stores an image; returns the image that is there, which an earlier attempt may have stored."""
        values = {name: value for name, value in asdict(image).items() if name in _FIELDS and value is not None}
        # As JSON, because header values are ASCII, and a revised prompt need not be.
        texts = {name: json.dumps(value) for name, value in values.items()}
        metadata = {name: text for name, text in texts.items() if len(text) <= MAX_VALUE_LENGTH}
        metadata["count"] = str(count)
        try:
            await self._store.put(image.name, data, content_type=image.content_type, metadata=metadata)
        except ObjectConflict:
            existing = await self._store.stat(image.name)
            adopted = _read(existing) if existing else None
            if adopted is None:
                raise
            return adopted
        return image

    async def of_call(self, job_id: str, call_id: str) -> tuple[list[StagedImage], int]:
        """Returns the staged images of a call, and the number of images that the call has."""
        objects = await self._store.find(object_names.staged_call_folder(job_id=job_id, call_id=call_id))
        images = [image for info in objects if (image := _read(info)) is not None]
        counts = [int(info.metadata["count"]) for info in objects if info.metadata.get("count", "").isdecimal()]
        return images, max(counts, default=0)

    async def put_raw(self, name: str, data: bytes) -> None:
        """Stores data that may not be an image; without an image's metadata it does not count as one."""
        await self._store.put(name, data, content_type="application/octet-stream", metadata={})

    async def raw_of_call(self, job_id: str, call_id: str) -> list[RawResult]:
        """Returns the unreadable data that is stored for a call."""
        folder = object_names.raw_folder(job_id=job_id, call_id=call_id)
        objects = await self._store.find(folder)
        return [
            RawResult(name=info.name, part=info.name.removeprefix(folder), size_bytes=info.size) for info in objects
        ]

    async def get_raw(self, name: str) -> bytes:
        """Returns the bytes of unreadable data."""
        return await self._store.get(name)


def _read(info: ObjectInfo) -> StagedImage | None:
    """Returns the image that an object's metadata describes; None for an object of another program."""
    try:
        values = {name: json.loads(info.metadata[name]) for name in _FIELDS if name in info.metadata}
        return StagedImage(name=info.name, **values)
    except (ValueError, TypeError):
        return None
