"""Wrong fields of `POST /v1/jobs`: each is refused, and named as the client wrote it."""

import json
from typing import Any

import httpx
import pytest

from tests.support.gateway.request_bodies import PNG_BASE64, raw
from tests.support.job_service.fake_job_service import FakeJobService


def _with(**fields: Any) -> bytes:
    return json.dumps({"prompt": "a", **fields}).encode()


INVALID: list[tuple[bytes, str]] = [
    # prompt
    (b"{}", "prompt"),
    (b'{"Prompt": "a"}', "prompt"),
    (b'{"prompt": null}', "prompt"),
    (b'{"prompt": ""}', "prompt"),
    (b'{"prompt": 7}', "prompt"),
    (b'{"prompt": true}', "prompt"),
    (b'{"prompt": ["a"]}', "prompt"),
    (b'{"prompt": {"text": "a"}}', "prompt"),
    (json.dumps({"prompt": "a" * 32_001}).encode(), "prompt"),
    (b'{"prompt": "a\\u0000b"}', "prompt"),
    (b'{"prompt": "a\\u001b[31m"}', "prompt"),
    (b'{"prompt": "a\\u007f"}', "prompt"),
    (b'{"prompt": "\\ud800"}', "prompt"),
    (b'{"prompt": "\\udc00\\ud800"}', "prompt"),
    (b'{"prompt": NaN}', "prompt"),
    (b'{"prompt": "a", "prompt": "b"}', "prompt"),
    (_with(negative_prompt=""), "negative_prompt"),
    (_with(negative_prompt="a" * 32_001), "negative_prompt"),
    (_with(negative_prompt=1), "negative_prompt"),
    (_with(negative_prompt="\x01"), "negative_prompt"),
    # names
    (_with(provider=""), "provider"),
    (_with(provider=1), "provider"),
    (_with(provider="a\nb"), "provider"),
    (_with(provider="a" * 101), "provider"),
    (_with(provider=["flux"]), "provider"),
    (_with(model=""), "model"),
    (_with(model=False), "model"),
    (_with(model="a\tb"), "model"),
    (_with(model="a" * 201), "model"),
    (_with(quality=""), "quality"),
    (_with(quality=5), "quality"),
    (_with(quality="q" * 65), "quality"),
    (_with(fallback=None), "fallback"),
    (_with(fallback="openai"), "fallback"),
    (_with(fallback={"0": "openai"}), "fallback"),
    (_with(fallback=["a"] * 6), "fallback"),
    (_with(fallback=["a", 7]), "fallback.1"),
    (_with(fallback=[""]), "fallback.0"),
    (_with(fallback=["a", None]), "fallback.1"),
    # n
    (_with(n=0), "n"),
    (_with(n=-1), "n"),
    (_with(n=11), "n"),
    (_with(n=2**70), "n"),
    (_with(n=1.5), "n"),
    (_with(n=1.5), "n"),
    (_with(n="1"), "n"),
    (_with(n=True), "n"),
    (_with(n=None), "n"),
    (_with(n=[1]), "n"),
    (raw('"n": NaN'), "n"),
    (raw('"n": Infinity'), "n"),
    (raw('"n": -Infinity'), "n"),
    (raw('"n": 1e999'), "n"),
    (raw('"n": 1, "n": 1'), "n"),
    # size and ratio
    (_with(size=""), "size"),
    (_with(size="1024"), "size"),
    (_with(size="1024X1024"), "size"),
    (_with(size="1024×1024"), "size"),
    (_with(size="1024 x 1024"), "size"),
    (_with(size="1024x1024\n"), "size"),
    (_with(size="0x1024"), "size"),
    (_with(size="-1x1"), "size"),
    (_with(size="01x1"), "size"),
    (_with(size="100000x1"), "size"),
    (_with(size="1.5x1"), "size"),
    (_with(size="١٠x١٠"), "size"),
    (_with(size="1024x1024x3"), "size"),
    (_with(size=[1024, 1024]), "size"),
    (_with(size=1024), "size"),
    (_with(aspect_ratio="16x9"), "aspect_ratio"),
    (_with(aspect_ratio="16:0"), "aspect_ratio"),
    (_with(aspect_ratio="16/9"), "aspect_ratio"),
    (_with(aspect_ratio="19.:9"), "aspect_ratio"),
    (_with(aspect_ratio=".5:9"), "aspect_ratio"),
    (_with(aspect_ratio="19.555:9"), "aspect_ratio"),
    (_with(aspect_ratio=1.78), "aspect_ratio"),
    (_with(aspect_ratio="16:9:1"), "aspect_ratio"),
    (_with(size="512x512", aspect_ratio="1:1"), "aspect_ratio"),
    # seed
    (_with(seed=-1), "seed"),
    (_with(seed=2**63), "seed"),
    (_with(seed=1.5), "seed"),
    (_with(seed="7"), "seed"),
    (_with(seed=True), "seed"),
    (raw('"seed": 1e-3'), "seed"),
    # choices
    (_with(output_format="gif"), "output_format"),
    (_with(output_format="PNG"), "output_format"),
    (_with(output_format=1), "output_format"),
    (_with(background="blue"), "background"),
    (_with(background=False), "background"),
    (_with(moderation="high"), "moderation"),
    (_with(input_fidelity="auto"), "input_fidelity"),
    (_with(output_compression=-1), "output_compression"),
    (_with(output_compression=101), "output_compression"),
    (_with(output_compression=0.5), "output_compression"),
    (_with(output_compression="80"), "output_compression"),
    (_with(priority="urgent"), "priority"),
    (_with(priority=1), "priority"),
    (_with(priority=None), "priority"),
    (_with(on_ambiguous="pay"), "on_ambiguous"),
    (_with(on_ambiguous=None), "on_ambiguous"),
    (_with(fallback_on_refusal=1), "fallback_on_refusal"),
    (_with(fallback_on_refusal="true"), "fallback_on_refusal"),
    (_with(fallback_on_refusal=None), "fallback_on_refusal"),
    # input pictures
    (_with(input_images=None), "input_images"),
    (_with(input_images={}), "input_images"),
    (_with(input_images=[{"data": PNG_BASE64}] * 17), "input_images"),
    (_with(input_images=["https://a.example/x.png"]), "input_images.0"),
    (_with(input_images=[{}]), "input_images.0"),
    (_with(input_images=[{"data": PNG_BASE64}, {"url": "https://a.example", "data": PNG_BASE64}]), "input_images.1"),
    (_with(input_images=[{"content_type": "image/png"}]), "input_images.0"),
    (_with(input_images=[{"url": None, "data": None}]), "input_images.0"),
    (_with(input_images=[{"data": PNG_BASE64, "sha256": "x"}]), "input_images.0.sha256"),
    (_with(input_images=[{"data": ""}]), "input_images.0.data"),
    (_with(input_images=[{"data": "####"}]), "input_images.0.data"),
    (_with(input_images=[{"data": "iVBORw"}]), "input_images.0.data"),
    (_with(input_images=[{"data": "iVBO\nRw=="}]), "input_images.0.data"),
    (_with(input_images=[{"data": "data:image/png;base64,iVBORw=="}]), "input_images.0.data"),
    (_with(input_images=[{"data": "äöüß"}]), "input_images.0.data"),
    (_with(input_images=[{"data": 7}]), "input_images.0.data"),
    (_with(input_images=[{"data": PNG_BASE64, "content_type": "text/html"}]), "input_images.0.content_type"),
    (_with(input_images=[{"data": PNG_BASE64, "content_type": "image/png\n"}]), "input_images.0.content_type"),
    (_with(input_images=[{"data": PNG_BASE64, "content_type": 1}]), "input_images.0.content_type"),
    (_with(input_images=[{"url": ""}]), "input_images.0.url"),
    (_with(input_images=[{"url": 7}]), "input_images.0.url"),
    (_with(input_images=[{"url": "a.example/x.png"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "//a.example/x.png"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "ftp://a.example/x.png"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "file:///etc/passwd"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "data:image/png;base64,iVBORw=="}]), "input_images.0.url"),
    (_with(input_images=[{"url": "javascript:alert(1)"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://user:pw@a.example/x.png"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://user@a.example/x.png"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://@a.example/x.png"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://a.example:99999/x.png"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://a.example:x/"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://[::1/x.png"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://a.example/a b"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://a.example/\n"}]), "input_images.0.url"),
    (_with(input_images=[{"url": "https://a.example/" + "x" * 2048}]), "input_images.0.url"),
    (raw('"input_images": [{"url": "https://a.example", "url": "https://b.example"}]'), "input_images.0.url"),
    (_with(mask="x"), "mask"),
    (_with(mask={}), "mask"),
    (_with(mask=[{"data": PNG_BASE64}]), "mask"),
    (_with(mask={"data": "!"}), "mask.data"),
    (_with(mask={"url": "gopher://a.example"}), "mask.url"),
    # options
    (_with(provider_options=None), "provider_options"),
    (_with(provider_options=[]), "provider_options"),
    (_with(provider_options="steps=30"), "provider_options"),
    (_with(provider_options={"a": 2**53 + 1}), "provider_options"),
    (_with(provider_options={"a": [{"b": -(2**60)}]}), "provider_options"),
    (_with(provider_options={"a": "x" * 70_000}), "provider_options"),
    (_with(provider_options={"a": {"b": "\x00"}}), "provider_options.a.b"),
    (_with(provider_options={"a": ["x", "\x00"]}), "provider_options.a.1"),
    (raw('"provider_options": {"a": NaN}'), "provider_options.a"),
    (raw('"provider_options": {"a": [1, -1e400]}'), "provider_options.a.1"),
    (raw('"provider_options": {"a": 1, "a": 2}'), "provider_options.a"),
    (raw('"provider_options": {"a": {"b": 1, "c": 2, "b": 3}}'), "provider_options.a.b"),
    (raw('"provider_options": {"\\u0000": 1}'), "provider_options.'\\x00'"),
    # times
    (_with(start_within_seconds=0), "start_within_seconds"),
    (_with(start_within_seconds=-5), "start_within_seconds"),
    (_with(start_within_seconds=1.5), "start_within_seconds"),
    (_with(start_within_seconds="60"), "start_within_seconds"),
    (_with(start_within_seconds=2**31), "start_within_seconds"),
    (_with(finish_within_seconds=0), "finish_within_seconds"),
    (_with(finish_within_seconds=True), "finish_within_seconds"),
    (_with(finish_within_seconds=2**63), "finish_within_seconds"),
    # callback
    (_with(callback_url="a.example"), "callback_url"),
    (_with(callback_url="ws://a.example"), "callback_url"),
    (_with(callback_url="https://u:p@a.example"), "callback_url"),
    (_with(callback_url="http://"), "callback_url"),
    (_with(callback_url=[]), "callback_url"),
    (_with(callback_url="https://a.example/\r\nX: y"), "callback_url"),
    # people and metadata
    (_with(end_user=""), "end_user"),
    (_with(end_user="u" * 129), "end_user"),
    (_with(end_user=42), "end_user"),
    (_with(end_user="a\nb"), "end_user"),
    (_with(metadata=None), "metadata"),
    (_with(metadata=[]), "metadata"),
    (_with(metadata="k=v"), "metadata"),
    (_with(metadata={str(i): "v" for i in range(17)}), "metadata"),
    (_with(metadata={"k": 1}), "metadata.k"),
    (_with(metadata={"k": None}), "metadata.k"),
    (_with(metadata={"k": {"a": "b"}}), "metadata.k"),
    (_with(metadata={"k": "v" * 501}), "metadata.k"),
    (_with(metadata={"k": "\x00"}), "metadata.k"),
    (_with(metadata={"": "v"}), "metadata."),
    (_with(metadata={"k" * 41: "v"}), "metadata." + "k" * 41),
    (_with(metadata={"a\nb": "v"}), "metadata.a\nb"),
    (raw('"metadata": {"k": "\\ud83d"}'), "metadata.k"),
    (raw('"metadata": {"\\ud83d": "v"}'), "metadata.'\\ud83d'"),
    (raw('"metadata": {"k": "a", "k": "b"}'), "metadata.k"),
    # fields that are not there
    (_with(size_px=1), "size_px"),
    (_with(image_count=2), "image_count"),
    (_with(tenant="other"), "tenant"),
    (_with(id="job_1"), "id"),
    (_with(**{"": 1}), "body"),
    (_with(**{"x" * 500: 1}), "x" * 100),
]


@pytest.mark.parametrize(("body", "field"), INVALID, ids=range(len(INVALID)))
async def test_a_wrong_field_is_named_as_the_client_wrote_it(
    client: httpx.AsyncClient, service: FakeJobService, body: bytes, field: str
) -> None:
    answer = await client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, problem["reason"]) == (422, "INVALID_INPUT"), problem
    assert field in [one["field"] for one in problem["errors"]], problem
    assert not service.requests


async def test_every_wrong_field_is_named_at_once_and_no_value_repeated(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json={"n": 0, "size": "secret-value", "colour": "red"})
    assert [one["field"] for one in answer.json()["errors"]] == ["prompt", "n", "size", "colour"]
    assert "secret-value" not in answer.text


async def test_not_more_than_fifty_fields_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json={f"x{i}": 1 for i in range(5_000)})
    assert len(answer.json()["errors"]) == 50


async def test_a_wrong_format_is_answered_with_an_example_and_not_with_a_regular_expression(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "a", "size": "big", "input_images": [{"content_type": "x"}]})
    assert {one["field"]: one["message"] for one in answer.json()["errors"]} == {
        "size": "Write WIDTHxHEIGHT in pixels, such as 1024x768.",
        "input_images.0.content_type": "Write an image type, such as image/png.",
    }
