"""What OpenAI's shape asks for, as a job: what a provider may honour goes on, and neutral values ask for nothing."""

import base64
import json
from typing import Any

import pytest
from calotype.job.v1 import job_pb2
from calotype.provider.v1 import provider_pb2

from gateway.openai_images import catalogue_names, requests, responses
from gateway.problems.problem import Problem

PICTURE = b"\x89PNG\r\n\x1a\n"
BOUNDARY = "boundary"
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
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


def edited_as_json(**fields: Any) -> job_pb2.JobRequest:
    """The job of a JSON body of an edit."""
    body = json.dumps({"prompt": "a harbour", "images": [{"image_url": DATA_URL}]} | fields).encode()
    return requests.json_edit(body, path=EDITS).job


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


def test_extensions_become_fields_of_the_job() -> None:
    options = {"steps": 4, "scheduler": {"name": "ddim"}}
    job = generated(seed=7, aspect_ratio="16:9", negative_prompt="people", provider_options=options, size="auto")

    assert (job.seed, job.aspect_ratio, job.negative_prompt) == (7, "16:9", "people")
    assert dict(job.provider_options) == {"steps": 4, "scheduler": job.provider_options["scheduler"]}
    assert not job.HasField("size")


def test_a_form_has_the_extensions_too() -> None:
    job = edited(seed="0", aspect_ratio="1:1", negative_prompt="people", provider_options='{"steps": 4}')

    assert (job.HasField("seed"), job.seed, job.aspect_ratio, job.negative_prompt) == (True, 0, "1:1", "people")
    assert dict(job.provider_options) == {"steps": 4}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("seed", seed) for seed in (-1, 2**63, "7", True)),
        *(("aspect_ratio", ratio) for ratio in ("wide", 1)),
        *(("provider_options", options) for options in ([], "{}", {"a": 2**60})),
        ("negative_prompt", ""),
    ],
)
def test_a_wrong_extension_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(Problem) as refused:
        generated(**{field: value})

    assert [one.field for one in refused.value.violations] == [field]


@pytest.mark.parametrize("options", ["{", "[]", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 5_000])
def test_options_of_a_form_are_a_json_object(options: str) -> None:
    with pytest.raises(Problem) as refused:
        edited(provider_options=options)

    assert [one.field for one in refused.value.violations] == ["provider_options"]


def test_a_size_and_a_ratio_exclude_each_other() -> None:
    with pytest.raises(Problem) as refused:
        generated(size="512x512", aspect_ratio="16:9")

    assert [one.field for one in refused.value.violations] == ["aspect_ratio"]


def test_the_old_default_style_has_no_effect_and_another_is_refused() -> None:
    assert generated(style="vivid") == generated()
    with pytest.raises(Problem) as refused:
        generated(style="natural")
    assert [one.field for one in refused.value.violations] == ["style"]


def test_a_json_edit_names_images_by_address_or_contains_them() -> None:
    address = "https://shop.example/a.png"
    job = edited_as_json(images=[{"image_url": address}, {"image_url": DATA_URL}], mask={"image_url": DATA_URL}, n=2)

    assert [(image.url, image.data) for image in job.input_images] == [(address, b""), ("", PICTURE)]
    assert (job.mask.data, job.n) == (PICTURE, 2)


@pytest.mark.parametrize(
    "images",
    [
        None,
        [],
        [{}],
        [{"file_id": "file-1"}],
        [{"image_url": None}],
        [{"image_url": "ftp://shop.example/a.png"}],
        [{"image_url": "https://user:word@shop.example/a.png"}],
        [{"image_url": "https://shop.example/" + "a" * 10_000}],
        [{"image_url": "data:image/png,abc"}],
        [{"image_url": "DATA:image/png;base64,YWJj"}],
        [{"image_url": "data:text/html;base64,YWJj"}],
        [{"image_url": "data:image/png;base64,"}],
        [{"image_url": "data:image/png;base64,?"}],
        [{"image_url": DATA_URL}] * 17,
    ],
)
def test_a_json_edit_without_images_that_can_be_read_is_refused(images: Any) -> None:
    with pytest.raises(Problem) as refused:
        edited_as_json(images=images)

    assert {one.field.partition(".")[0] for one in refused.value.violations} == {"images"}


def test_images_of_a_json_edit_are_bounded_together() -> None:
    data_url = "data:image/png;base64," + base64.b64encode(bytes(15 * 1024 * 1024)).decode()
    with pytest.raises(Problem) as refused:
        edited_as_json(images=[{"image_url": data_url}] * 3)
    assert [one.field for one in refused.value.violations] == ["images"]
    with pytest.raises(Problem) as refused:
        edited_as_json(images=[{"image_url": data_url}] * 2, mask={"image_url": data_url})
    assert [one.field for one in refused.value.violations] == ["mask"]


CATALOGUE = (
    provider_pb2.Provider(name="flux", is_default=True, default_model="dev", aliases={"gpt-image-1": "schnell"}),
    provider_pb2.Provider(
        name="nova",
        default_model="canvas",
        models=[
            provider_pb2.Model(name="canvas", capabilities=provider_pb2.Capabilities(qualities=["standard"])),
            provider_pb2.Model(name="reel"),
        ],
        aliases={"dall-e-3": "canvas", "flux": "canvas", "removed": "gone"},
    ),
)


def resolved(**fields: Any) -> tuple[str, str, str]:
    """Provider, model and quality of a request, as the job gets them."""
    job = generated(**fields)
    assert catalogue_names.needs_catalogue(job)
    catalogue_names.resolve(job, CATALOGUE)
    return job.provider, job.model, job.quality


def test_an_alias_becomes_its_provider_and_model_and_the_name_of_a_provider_none() -> None:
    assert resolved(model="dall-e-3") == ("nova", "canvas", "")
    assert resolved(model="gpt-image-1") == ("flux", "schnell", "")
    assert resolved(model="flux") == ("flux", "", "")
    assert resolved(model="unknown") == ("unknown", "", "")
    assert not catalogue_names.needs_catalogue(generated(model="flux/dev"))
    assert not catalogue_names.needs_catalogue(generated(quality="high"))


def test_the_old_default_quality_stays_only_where_it_is_one() -> None:
    assert resolved(quality="standard") == ("", "", "")
    assert resolved(model="dall-e-3", quality="standard") == ("nova", "canvas", "standard")
    assert resolved(model="nova", quality="standard") == ("nova", "", "standard")
    assert resolved(model="nova/reel", quality="standard") == ("nova", "reel", "")
    assert resolved(model="unknown", quality="standard") == ("unknown", "", "")


def test_models_are_listed_with_the_aliases_of_models_that_the_tenant_may_use() -> None:
    names = [view.id for view in responses.models(CATALOGUE).data]

    assert names == ["flux", "nova", "nova/canvas", "nova/reel", "dall-e-3"]
    assert getattr(responses.model(CATALOGUE, "dall-e-3"), "id", None) == "dall-e-3"
    assert responses.model(CATALOGUE, "removed") is None
