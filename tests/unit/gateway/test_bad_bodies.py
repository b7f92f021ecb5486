"""Bodies of `POST /v1/jobs`: what cannot be read is refused with its status, what is just within bounds is accepted."""

import json
from typing import Any

import httpx
import pytest
from calotype.job.v1 import job_service_pb2

from tests.support.gateway.request_bodies import PNG_BASE64, raw
from tests.support.job_service.fake_job_service import FakeJobService


def _deep(levels: int, opening: str = '{"a":', closing: str = "}") -> str:
    return opening * levels + "1" + closing * levels


MALFORMED: list[bytes] = [
    b"",
    b"   ",
    b"\n",
    b"{",
    b"}",
    b"null",
    b"true",
    b"7",
    b'"prompt"',
    b"[]",
    b'[{"prompt": "a"}]',
    b"{'prompt': 'a'}",
    b'{"prompt": "a",}',
    b'{"prompt": "a"} x',
    b'{"prompt": "a"}{"prompt": "b"}',
    b'{"prompt": "a\nb"}',
    b'{"prompt": "\\x41"}',
    b'{"prompt": "a", /* no */ "n": 1}',
    b'{"prompt": undefined}',
    b'{"prompt": "a", "seed": 01}',
    b'{"prompt": "a", "seed": 0x10}',
    b'{"prompt": "a", "seed": +1}',
    b'{"prompt": "a", "seed": 1.}',
    b'{"prompt": "a", "seed": ' + b"9" * 5_000 + b"}",
    b'\xef\xbb\xbf{"prompt": "a"}',
    b'{"prompt": "\xff"}',
    b'{"prompt": "\xc3"}',
    b'{"prompt": "\xed\xa0\x80"}',
    '{"prompt": "a"}'.encode("utf-16"),
    b"\x00",
    b"\x89PNG\r\n\x1a\n",
    b"prompt=a&n=1",
    b"[" * 100_000,
    b'{"prompt":' * 50_000,
    raw(f'"provider_options": {_deep(30)}'),
    raw(f'"provider_options": {{"a": {_deep(5_000, "[", "]")}}}'),
    raw('"fallback": [' + ",".join(["1"] * 250_000) + "]"),
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_body_that_cannot_be_read_is_malformed(
    client: httpx.AsyncClient, service: FakeJobService, body: bytes
) -> None:
    answer = await client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, problem["reason"], problem["errors"]) == (400, "MALFORMED", []), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert not service.requests


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "text/json"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_another_content_type_is_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/v1/jobs", content=b'{"prompt": "a"}', headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("stated", ["application/json", "Application/JSON", "application/json; charset=UTF-8"])
async def test_json_is_accepted_however_it_is_written(client: httpx.AsyncClient, stated: str) -> None:
    answer = await client.post("/v1/jobs", content=b'{"prompt": "a"}', headers={"Content-Type": stated})
    assert answer.status_code == 202


GOOD: list[dict[str, Any]] = [
    {"prompt": "a" * 32_000},
    {"prompt": "tab\tand\r\nlines, 日本語 🏞️"},
    {"prompt": "a", "n": 10, "seed": 0, "fallback": ["a"] * 5},
    {"prompt": "a", "size": "99999x1", "aspect_ratio": None},
    {"prompt": "a", "metadata": {"k" * 40: "v" * 500, "e": ""}},
    {"prompt": "a", "metadata": {str(i): "v" for i in range(16)}},
    {"prompt": "a", "end_user": "ü" * 128},
    {"prompt": "a", "input_images": [{"data": PNG_BASE64, "content_type": "image/png"}] * 8},
    {"prompt": "a", "input_images": [{"url": "http://a.example:8080/x?y=@z#f"}, {"url": "https://[2001:db8::1]/x"}]},
    {"prompt": "a", "provider_options": {"a": 2**53, "b": [None, True, 1.5, {"c": "x"}]}},
    {"prompt": "a", "provider_options": json.loads(_deep(22))},
    {"prompt": "a", "start_within_seconds": 1, "finish_within_seconds": 2**31 - 1},
    dict.fromkeys(("negative_prompt", "provider", "model", "size", "seed", "mask", "callback_url", "end_user"))
    | {"prompt": "a"},
]


@pytest.mark.parametrize("body", GOOD, ids=range(len(GOOD)))
async def test_what_is_just_within_bounds_is_accepted(
    client: httpx.AsyncClient, service: FakeJobService, body: dict[str, Any]
) -> None:
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    assert service.last(job_service_pb2.CreateJobRequest).request.prompt == body["prompt"]
    shown = answer.json()["request"]
    assert {name: shown[name] for name in body if name != "input_images"} == {
        name: value for name, value in body.items() if name != "input_images"
    }
