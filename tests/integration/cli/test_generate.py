"""`calotype generate`: every field of a job, and the format of the file that is saved."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import main
from cli.api.generate_options import FIELDS
from gateway.schemas.requests import CreateJob
from tests.support.gateway.fake_gateway import PNG, FakeGateway, fake_gateway, job

SUBMIT = ("POST", "/v1/jobs")


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """A gateway whose job is completed, with a PNG image."""
    with fake_gateway() as running:
        image = {"index": 0, "content_type": "image/png", "url": f"{running.url}/image"}
        running.job = job("completed", "Done", artifacts=[image])
        yield running


def generate(gateway: FakeGateway, *arguments: str) -> Result:
    """Run the command against the gateway."""
    return CliRunner().invoke(main, ["generate", "a lake", *arguments, "--url", gateway.url])


def submitted(gateway: FakeGateway, *arguments: str) -> dict[str, Any]:
    """The body of the job that the command submits."""
    result = generate(gateway, "--no-wait", *arguments)
    assert result.exit_code == 0, result.output
    body: dict[str, Any] = gateway.bodies[SUBMIT][-1]
    return body


def test_there_is_an_option_for_every_field_of_a_job() -> None:
    assert {"prompt", *FIELDS} == set(CreateJob.model_fields)


def test_every_option_becomes_its_field(gateway: FakeGateway, tmp_path: Path) -> None:
    image = tmp_path / "lake.png"
    image.write_bytes(PNG)
    scalars = {
        "provider": "a", "model": "b", "n": 2, "size": "64x64", "seed": 7, "negative_prompt": "fog", "quality": "high",
        "output_format": "webp", "output_compression": 0, "background": "opaque", "moderation": "low",
        "input_fidelity": "high", "priority": "low", "start_within_seconds": 5, "finish_within_seconds": 9,
        "on_ambiguous": "retry", "callback_url": "https://a.example/b", "end_user": "me", "aspect_ratio": "16:9",
    }  # fmt: skip
    options = [
        part for name, value in scalars.items() if name != "n" for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    lists = ["-n", "2", "--fallback", "c", "--fallback", "d", "--metadata", "order=1=2", "--fallback-on-refusal"]
    images = ["--image", str(image), "--image", "https://a.example/c.png", "--mask", str(image)]
    nested = [
        f"--provider-option={pair}" for pair in ("steps=30", "style=bold", "guidance.scale=1.5", 'a=["b"]', "c=NaN")
    ]

    body = submitted(gateway, *options, *lists, *images, *nested)

    sent = {"data": base64.b64encode(PNG).decode(), "content_type": "image/png"}
    assert body == scalars | {
        "prompt": "a lake",
        "fallback": ["c", "d"],
        "fallback_on_refusal": True,
        "metadata": {"order": "1=2"},
        "input_images": [sent, {"url": "https://a.example/c.png"}],
        "mask": sent,
        "provider_options": {"steps": 30, "style": "bold", "guidance": {"scale": 1.5}, "a": ["b"], "c": "NaN"},
    }
    CreateJob.model_validate_json(json.dumps(body | {"aspect_ratio": None}))


def test_what_is_not_given_is_not_sent(gateway: FakeGateway) -> None:
    assert submitted(gateway) == {"prompt": "a lake", "n": 1}
    assert submitted(gateway, "--pay-again") == {"prompt": "a lake", "n": 1, "on_ambiguous": "retry"}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--metadata", "order"),
        ("--provider-option", "a=1", "--provider-option", "a.b=1"),
        ("--image", "/none/lake.png"),
        ("--output-format", "gif"),
        ("-o", "lake.png", "--no-wait"),
        ("-o", "lake.jpg", "--output-format", "png"),
    ],
)
def test_a_wrong_option_submits_nothing(gateway: FakeGateway, wrong: tuple[str, ...]) -> None:
    result = generate(gateway, *wrong)

    assert (result.exit_code, gateway.bodies) == (2, {})


def test_a_key_of_ones_own_is_sent(gateway: FakeGateway) -> None:
    submitted(gateway, "--idempotency-key", "order-1042")
    submitted(gateway)

    assert gateway.keys[0] == "order-1042"
    assert gateway.keys[1] not in (None, "order-1042")


@pytest.mark.parametrize(
    ("formats", "name", "options", "requested"),
    [
        (["png", "jpeg"], "a.JPG", (), "jpeg"),
        (["png", "jpeg"], "a.png", (), "png"),
        (["png", "jpeg"], "a.kept", (), None),
        (["png", "jpeg"], "a", ("--output-format", "jpeg"), "jpeg"),
        (["png", "jpeg"], "a.jpg", ("--fallback", "other"), None),
        (["png", "jpeg"], "a.jpg", ("--model", "plain"), None),
        (["png", "webp"], "a.webp", ("--fallback", "other"), "webp"),
        ([], "a.jpg", (), None),
        (["png"], "a.jpg", ("--provider", "unknown"), None),
    ],
)
def test_the_suffix_of_the_file_is_the_format_to_ask_for(
    gateway: FakeGateway,
    tmp_path: Path,
    formats: list[str],
    name: str,
    options: tuple[str, ...],
    requested: str | None,
) -> None:
    gateway.formats = formats
    generate(gateway, "-o", str(tmp_path / name), *options)

    assert gateway.bodies[SUBMIT][0].get("output_format") == requested


def test_a_format_that_the_provider_does_not_make_is_refused(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.formats = ["png", "webp"]

    result = generate(gateway, "-o", str(tmp_path / "a.jpg"))

    assert (result.exit_code, gateway.bodies) == (2, {})
    assert "a.jpg cannot be saved: the provider makes no jpeg. Use one of: .png, .webp" in result.stderr
