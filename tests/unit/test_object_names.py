"""Names of objects: what each service derives, and what may be emptied."""

import pytest
from calotype import object_names

JOB = "job_" + "0a" * 16
SHA256 = "0123456789abcdef" + "f" * 48


@pytest.mark.parametrize(
    ("content_type", "extension"), [("image/png", "png"), ("image/jpeg", "jpg"), ("image/webp", "webp")]
)
def test_a_public_name_has_job_index_digest_and_type(content_type: str, extension: str) -> None:
    name = object_names.public_name(job_id=JOB, index=2, sha256=SHA256, content_type=content_type)

    assert name == f"jobs/{JOB}/2-0123456789abcdef.{extension}"
    assert name.startswith(object_names.public_folder(JOB))
    assert object_names.job_of_public(name) == JOB


@pytest.mark.parametrize("base_url", ["https://images.example", "https://images.example/"])
def test_a_public_url_is_the_base_and_the_name(base_url: str) -> None:
    assert object_names.public_url("jobs/a/0.png", base_url=base_url) == "https://images.example/jobs/a/0.png"


def test_a_staged_name_has_job_call_and_index() -> None:
    name = object_names.staged_name(job_id=JOB, call_id="call_1", index=3)

    assert name == f"{JOB}/call_1/3"
    assert object_names.raw_folder(job_id=JOB, call_id="call_1") == f"{JOB}/call_1/raw/"
    assert name.startswith(object_names.staged_folder(JOB))
    assert object_names.job_of_staged(name) == JOB


def test_the_call_of_a_staged_name_is_known() -> None:
    call = "call_" + "0b" * 16

    assert object_names.call_of_staged(object_names.staged_name(job_id=JOB, call_id=call, index=0)) == call
    assert object_names.call_of_staged(f"{object_names.raw_folder(job_id=JOB, call_id=call)}0") == call
    for name in (f"{JOB}/{call}", f"{JOB}/{call}/", f"{JOB}/other/0", f"other/{call}/0"):
        assert object_names.call_of_staged(name) is None


def test_a_jobs_own_folder_may_be_emptied() -> None:
    assert object_names.is_public_folder(object_names.public_folder(JOB))
    assert object_names.is_staged_folder(object_names.staged_folder(JOB))


@pytest.mark.parametrize("prefix", ["", "/", "{job}", "{job}/0", "{job}//", "/{job}/", "x{job}/", "job_1/", "{job}/\n"])
def test_nothing_but_one_jobs_folder_may_be_emptied(prefix: str) -> None:
    prefix = prefix.format(job=JOB)

    assert not object_names.is_staged_folder(prefix)
    assert not object_names.is_public_folder(f"jobs/{prefix}")
    assert not object_names.is_public_folder(prefix)


@pytest.mark.parametrize("name", ["", "{job}", "{job}/", "jobs/{job}/", "job_1/0", "other/{job}/0"])
def test_a_name_that_no_service_gives_belongs_to_no_job(name: str) -> None:
    name = name.format(job=JOB)

    assert object_names.job_of_staged(name) is None
    assert object_names.job_of_public(name) is None
