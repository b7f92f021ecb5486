"""Names of public objects, and what may be emptied."""

import pytest

from services.uploader import domain
from services.uploader.domain import StagedImage

SHA256 = "0123456789abcdef" + "0" * 48


def image(content_type: str) -> StagedImage:
    """A staged image of a type."""
    return StagedImage(index=2, name="job_1/call_1/2", content_type=content_type, sha256=SHA256, size_bytes=3)


@pytest.mark.parametrize(
    ("content_type", "extension"), [("image/png", "png"), ("image/jpeg", "jpg"), ("image/webp", "webp")]
)
def test_a_public_name_tells_job_index_digest_and_type(content_type: str, extension: str) -> None:
    assert domain.public_name("job_1", image(content_type)) == f"jobs/job_1/2-0123456789abcdef.{extension}"


def test_a_public_name_lies_in_the_folder_that_is_emptied_when_the_job_is_deleted() -> None:
    assert domain.public_name("job_1", image("image/png")).startswith(domain.public_folder("job_1"))
    assert domain.is_public_folder(domain.public_folder("job_1"))


@pytest.mark.parametrize(
    "prefix", ["", "/", "jobs", "jobs/", "jobs/job_1", "jobs//", "job_1/", "jobs/job_1/0-", "jobs/a/b/"]
)
def test_nothing_but_one_jobs_folder_may_be_emptied(prefix: str) -> None:
    assert not domain.is_public_folder(prefix)
