"""Uploads and their errors. Imports the standard library and the object names only."""

from dataclasses import dataclass

from calotype import object_names
from calotype.error_reasons import Code, Reason


@dataclass(frozen=True, kw_only=True)
class StagedImage:
    """An image in the staging bucket that is to be published."""

    #: Position in the job, from 0.
    index: int
    #: Object name in the staging bucket.
    name: str
    #: Media type.
    content_type: str
    #: SHA-256 of its bytes, 64 hex characters.
    sha256: str
    #: Size in bytes.
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The upload of a job's images that this worker has claimed.

    Job id, claim number and lease token authorize its reports.
    """

    #: `job_` and 32 hex characters.
    job_id: str
    #: Counts the claims of the job, from 1.
    claim_number: int
    #: Token of the lease.
    lease_token: str
    #: Seconds that the lease lasts from each renewal.
    lease_seconds: float
    #: Images to be copied.
    images: tuple[StagedImage, ...]
    #: W3C traceparent of the job; empty without a trace.
    traceparent: str
    #: Seconds that the claim may take.
    max_seconds: float
    #: Tenant to which the job belongs; empty when job-service did not name it.
    tenant: str = ""

    def public_name(self, image: StagedImage) -> str:
        """Returns the object name of one of its images in the public bucket."""
        return object_names.public_name(
            job_id=self.job_id, index=image.index, sha256=image.sha256, content_type=image.content_type
        )


# Not frozen: Python sets attributes such as `__traceback__` on exceptions.
@dataclass(kw_only=True, eq=False)
class UploadError(Exception):
    """Why images could not be stored."""

    #: Stage of the job that failed, without prefix: `UPLOADING` or `PERSISTING`.
    stage: str
    #: Class of the error.
    code: Code
    #: Cause of the error.
    reason: Reason
    #: What happened, for a person.
    message: str
    #: Whether another attempt may succeed.
    retryable: bool


def storage_unavailable() -> UploadError:
    """Returns the error for a store that was unavailable until the end of the stage."""
    return UploadError(
        stage="UPLOADING",
        code=Code.TEMPORARY,
        reason=Reason.STORAGE_UNAVAILABLE,
        message="The image store was unavailable; the upload is tried again, and the images are kept.",
        retryable=True,
    )


def storage_denied() -> UploadError:
    """Returns the error for a store that refuses the uploader's credential."""
    return UploadError(
        stage="UPLOADING",
        code=Code.AUTH_ERROR,
        reason=Reason.STORAGE_DENIED,
        message="The image store refuses the service's credential; the operator must correct it, then retry.",
        retryable=False,
    )


def staged_image_missing(index: int) -> UploadError:
    """Returns the error for an image that is recorded as staged and does not exist."""
    return UploadError(
        stage="PERSISTING",
        code=Code.PERMANENT,
        reason=Reason.RESULT_MISMATCH,
        message=f"Image {index} is recorded as staged, but does not exist in the store.",
        retryable=False,
    )


def staged_image_differs(index: int) -> UploadError:
    """Returns the error for a staged image that differs from its record."""
    return UploadError(
        stage="PERSISTING",
        code=Code.PERMANENT,
        reason=Reason.RESULT_MISMATCH,
        message=f"Image {index} in the store differs from its record.",
        retryable=False,
    )


def other_content(index: int) -> UploadError:
    """Returns the error for a public object with other content under the image's name."""
    return UploadError(
        stage="PERSISTING",
        code=Code.PERMANENT,
        reason=Reason.RESULT_MISMATCH,
        message=f"Another object has the public name of image {index}.",
        retryable=False,
    )
