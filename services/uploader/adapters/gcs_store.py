"""`PublicStore` port on Google Cloud Storage."""

from common.object_store import ObjectStore
from services.uploader.domain import StagedImage


class GcsPublicStore:
    """The public bucket, filled from the staging bucket inside the store."""

    def __init__(self, store: ObjectStore, *, staging_bucket: str, cache_seconds: int) -> None:
        self._store = store
        self._staging_bucket = staging_bucket
        # A name contains the digest of its content, so the content never changes.
        self._cache_control = f"public, max-age={cache_seconds}, immutable"

    async def publish(self, image: StagedImage, name: str) -> None:
        """Copies a staged image to its public name."""
        await self._store.copy_from(
            self._staging_bucket,
            image.name,
            name,
            content_type=image.content_type,
            cache_control=self._cache_control,
            # Metadata is public: that of the staged image, such as its prompt, must not be copied.
            metadata={"sha256": image.sha256},
            expected_size=image.size_bytes,
        )

    async def empty(self, prefix: str) -> int:
        """Deletes all objects whose names begin with a prefix; returns their number."""
        return await self._store.empty(prefix)
