"""What OpenAI's shape asks for, as a job: what a provider may honour goes on, and neutral values ask for nothing."""

import json
from typing import Any

import pytest
from calotype.job.v1 import job_pb2

from gateway.openai_images import requests
from gateway.problems.problem import Problem

PICTURE = b"\x89PNG\r\n\x1a\n"
BOUNDARY = "boundary"
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"


def generated(**fields: Any) -> job_pb2.JobRequest:
    """The job of a JSON body."""
    body = json.dumps({"prompt": "a harbour"} | fields).encode()
    return requests.generation(body, path=GENERATIONS).job


def edited(images: int = 1, *files: bytes, **texts: str) -> job_pb2.JobRequest:
    """The job of a form."""
    parts = [f'form-data; name="{name}"\r\n\r\n'.encode() + text.encode() for name, text in texts.items()]
    file = b'form-data; name="image[]"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n' + PICTURE
    parts += [b'form-data; name="prompt"\r\n\r\na harbour', *[file] * images, *files]
    line = f"--{BOUNDARY}".encode()
    body = b"".join(line + b"\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + line + b"--\r\n"
    return requests.edit(body, path=EDITS, content_type=f"multipart/form-data; boundary={BOUNDARY}").job


def test_what_a_provider_may_honour_becomes_fields_of_the_job() -> None:
    job = generated(background="transparent", output_compression=80, moderation="low", output_format="webp")

    assert (job.background, job.output_compression, job.moderation) == ("transparent", 80, "low")


def test_a_form_says_it_too() -> None:
    job = edited(background="opaque", output_compression="0", moderation="low", input_fidelity="high")

    assert (job.background, job.moderation, job.input_fidelity) == ("opaque", "low", "high")
    assert (job.HasField("output_compression"), job.output_compression) == (True, 0)


def test_values_that_ask_for_nothing_are_fine_with_any_provider() -> None:
    job = generated(background="auto", moderation="auto", input_fidelity="low", partial_images=0, size="auto")

    assert job == generated()


@pytest.mark.parametrize(
    ("field", "value"),
    [("background", "blue"), ("moderation", "none"), ("input_fidelity", "most"), ("output_compression", 101)],
)
def test_what_nobody_knows_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(Problem) as refused:
        generated(**{field: value})

    assert [one.field for one in refused.value.violations] == [field]


def test_a_form_brings_sixteen_images_and_no_more() -> None:
    assert len(edited(16).input_images) == 16
    with pytest.raises(Problem) as refused:
        edited(17)
    assert [one.field for one in refused.value.violations] == ["image"]


def test_a_file_that_nobody_chose_in_a_page_s_form_is_none() -> None:
    kind = b"Content-Type: application/octet-stream\r\n\r\n"

    assert edited(1, b'form-data; name="mask"; filename=""\r\n' + kind) == edited()
    with pytest.raises(Problem) as refused:
        edited(1, b'form-data; name="mask"; filename="mask.png"\r\n' + kind)
    assert [one.field for one in refused.value.violations] == ["mask"]


def test_a_job_that_names_none_of_the_newer_fields_is_joined_as_before() -> None:
    body = b'{"prompt": "a harbour", "model": "flux", "n": 1}'

    assert (
        requests.generation(body, path=GENERATIONS).fingerprint
        == "d71d6744adfc05a843cf3833d2b019cfdc5b8def8a19e67e4075c96723c0cd62"
    )
