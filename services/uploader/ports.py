"""What the uploader needs of the world, in its own words."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from common.leased_work import Renewal
from services.uploader.domain import StagedImage, Upload, UploadError


class JobService(Protocol):
    """Hands out work. Every method raises `ServiceError` when it is refused or cannot be asked."""

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Upload]]:
        """Uploads that are due, at most one per token; the same again for the same tokens."""

    async def renew(self, uploads: Sequence[Upload]) -> Mapping[str, Renewal]:
        """What became of each lease, by token."""

    async def release(self, upload: Upload) -> None:
        """Hand an upload back."""


class Facts(Protocol):
    """Takes facts. A call returns when its fact is safe; else it raises `BrokerUnavailable`, and may be repeated."""

    async def images_stored(self, fact_id: str, upload: Upload, names: Mapping[int, str]) -> None:
        """Every image is public."""

    async def upload_failed(self, fact_id: str, upload: Upload, error: UploadError) -> None:
        """The images could not be stored."""


class PublicStore(Protocol):
    """The public bucket; methods raise the errors of `common.object_store`."""

    async def publish(self, image: StagedImage, name: str) -> None:
        """Copy a staged image to its public name; an equal one that is there already is fine.

        Raises `ObjectMissing` or `ObjectDiffers` for the staged one, `ObjectConflict` for another of that name.
        """

    async def empty(self, prefix: str) -> int:
        """Delete every object whose name begins so; returns how many there were."""
