"""Ports of the uploader: the interfaces to job-service, facts and the public bucket."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from common.leased_work import Renewal
from services.uploader.domain import StagedImage, Upload, UploadError


class JobService(Protocol):
    """Interface to job-service. Every method raises `ServiceError` when the call is refused or gets no response."""

    async def claim(self, tokens: Sequence[str]) -> Sequence[tuple[str, Upload]]:
        """Claims due uploads, up to one per token; returns the same uploads when the same tokens are repeated."""

    async def renew(self, uploads: Sequence[Upload]) -> Mapping[str, Renewal]:
        """Renews the leases of uploads; returns the outcome by token."""

    async def release(self, upload: Upload) -> None:
        """Gives up the lease of an upload."""


class Facts(Protocol):
    """Publishes facts.

    A method returns once the broker has stored the fact, or raises `BrokerUnavailable` and may be repeated with the
    same `fact_id`.
    """

    async def images_stored(self, fact_id: str, upload: Upload, names: Mapping[int, str]) -> None:
        """All images are public, under these object names by index."""

    async def upload_failed(self, fact_id: str, upload: Upload, error: UploadError) -> None:
        """The images could not be stored."""


class PublicStore(Protocol):
    """The public bucket; methods raise the errors of `common.object_store`."""

    async def publish(self, image: StagedImage, name: str) -> None:
        """Copies a staged image to its public name, unless an equal object is there.

        Raises `ObjectMissing` or `ObjectDiffers` for the staged image, `ObjectConflict` for a public object of this
        name with other content.
        """

    async def empty(self, prefix: str) -> int:
        """Deletes all objects whose names begin with a prefix; returns their number."""
