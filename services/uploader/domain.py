"""Names of public objects, and what a failed copy means. Standard library only."""

from dataclasses import dataclass

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


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


# Not frozen: the machinery of exceptions sets attributes on what it carries.
@dataclass(kw_only=True, eq=False)
class UploadError(Exception):
    """Why images could not be stored: names of the error catalogue, words for a person."""

    stage: str
    code: str
    reason: str
    message: str
    retryable: bool


def public_folder(job_id: str) -> str:
    """What the names of all public objects of a job begin with."""
    return f"jobs/{job_id}/"


def is_public_folder(prefix: str) -> bool:
    """Whether a prefix is one job's folder: never the whole bucket, never the beginning of other jobs' names."""
    head, _, job_id = prefix.removesuffix("/").partition("/")
    return prefix.endswith("/") and head == "jobs" and bool(job_id) and "/" not in job_id


def public_name(job_id: str, image: StagedImage) -> str:
    """Where an image is served. Its digest is in the name: what is there under it is a finished copy of the same."""
    extension = EXTENSIONS.get(image.content_type, "bin")
    return f"{public_folder(job_id)}{image.index}-{image.sha256[:16]}.{extension}"


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
