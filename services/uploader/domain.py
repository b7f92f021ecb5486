"""Uploads, and what a failed copy means. Standard library only."""

from dataclasses import dataclass

from calotype import object_names


@dataclass(frozen=True, kw_only=True)
class StagedImage:
    """An image that waits in staging."""

    index: int
    name: str
    content_type: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A job's images in this worker's hands; the first three fields are its right to move the job."""

    job_id: str
    claim_number: int
    lease_token: str
    lease_seconds: float
    images: tuple[StagedImage, ...]
    traceparent: str
    max_seconds: float

    def public_name(self, image: StagedImage) -> str:
        """Name of one of its images in the public bucket."""
        return object_names.public_name(
            job_id=self.job_id, index=image.index, sha256=image.sha256, content_type=image.content_type
        )


# Not frozen: the machinery of exceptions sets attributes on what it carries.
@dataclass(kw_only=True, eq=False)
class UploadError(Exception):
    """Why images could not be stored: names of the error catalogue, words for a person."""

    stage: str
    code: str
    reason: str
    message: str
    retryable: bool


def storage_unavailable() -> UploadError:
    """The store did not answer for the whole of the stage."""
    return UploadError(
        stage="UPLOADING",
        code="TEMPORARY",
        reason="STORAGE_UNAVAILABLE",
        message="The image store could not be reached; the upload is tried again, the images are kept.",
        retryable=True,
    )


def storage_denied() -> UploadError:
    """The store refuses the uploader."""
    return UploadError(
        stage="UPLOADING",
        code="AUTH_ERROR",
        reason="STORAGE_DENIED",
        message="The image store refuses the service's credential; its operator must mend that, then retry.",
        retryable=False,
    )


def staged_image_missing(index: int) -> UploadError:
    """What the ledger calls staged is not there."""
    return UploadError(
        stage="PERSISTING",
        code="PERMANENT",
        reason="RESULT_MISMATCH",
        message=f"Image {index} is recorded as staged, but is not in the store.",
        retryable=False,
    )


def staged_image_differs(index: int) -> UploadError:
    """What is staged is not what the ledger describes."""
    return UploadError(
        stage="PERSISTING",
        code="PERMANENT",
        reason="RESULT_MISMATCH",
        message=f"Image {index} is not in the store as it was recorded.",
        retryable=False,
    )


def other_content(index: int) -> UploadError:
    """The public name is taken by something else."""
    return UploadError(
        stage="PERSISTING",
        code="PERMANENT",
        reason="RESULT_MISMATCH",
        message=f"Another object has the public name of image {index}.",
        retryable=False,
    )
