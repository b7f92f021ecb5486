"""A frontend gets its pictures, and the truth about those that it does not get."""

import hashlib
import io

import httpx
import pytest
from PIL import Image

from tests.support.providers.paid_provider import Books
from tests.support.stacks.stack_clients import Client


def test_pictures_are_public_and_are_what_the_job_says(client: Client) -> None:
    job = client.follow(client.submit("a lighthouse at dusk", n=2, size="320x200", seed=7)["id"])
    pictures = [httpx.get(artifact["url"], trust_env=False) for artifact in job["artifacts"]]

    assert job["status"] == "completed"
    assert [artifact["seed"] for artifact in job["artifacts"]] == [7, 8]
    for artifact, picture in zip(job["artifacts"], pictures, strict=True):
        assert picture.status_code == 200
        assert picture.headers["Content-Type"] == artifact["content_type"] == "image/png"
        assert hashlib.sha256(picture.content).hexdigest() == artifact["sha256"]
        assert Image.open(io.BytesIO(picture.content)).size == (320, 200) == (artifact["width"], artifact["height"])


def test_the_same_seed_gives_the_same_picture(client: Client) -> None:
    jobs = [client.follow(client.submit("a quiet fjord", size="128x128", seed=5)["id"]) for _ in range(2)]

    assert jobs[0]["artifacts"][0]["sha256"] == jobs[1]["artifacts"][0]["sha256"]


def test_an_asynchronous_paid_provider_is_paid_once(client: Client, books: Books) -> None:
    job = client.follow(client.submit("good harbour", provider="paid")["id"])
    attempts = client.http.get(f"/v1/jobs/{job['id']}/attempts").json()["attempts"]
    [call] = attempts[0]["provider_calls"]

    assert job["status"] == "completed"
    assert job["cost"] == {"amount_micros": 40000, "currency": "USD", "complete": True}
    assert (call["phase"], call["cost"]["amount_micros"]) == ("succeeded", 40000)
    assert books.count("good harbour") == 1


@pytest.mark.parametrize(
    ("prompt", "code", "reason"),
    [
        ("private", "PERMANENT", "FORBIDDEN_ADDRESS"),
        ("redirect", "PERMANENT", "FORBIDDEN_ADDRESS"),
        ("text", "PERMANENT", "INVALID_IMAGE"),
        ("bomb", "PERMANENT", "TOO_LARGE"),
        ("huge", "PERMANENT", "TOO_LARGE"),
        ("refused", "PERMANENT", "CONTENT_POLICY"),
        ("failed", "PERMANENT", "PROVIDER_REJECTED"),
        ("gone", "TEMPORARY", "FETCH_FAILED"),
    ],
)
def test_a_bad_result_fails_the_job_where_it_was_caught(
    client: Client, books: Books, prompt: str, code: str, reason: str
) -> None:
    job = client.follow(client.submit(f"{prompt} result", provider="paid")["id"])

    assert job["status"] == "failed"
    assert (job["failure_stage"], job["error"]["code"], job["error"]["reason"]) == ("generating", code, reason)
    assert books.count(f"{prompt} result") == 1


def test_a_cancel_reaches_the_provider(client: Client, books: Books) -> None:
    books.finish.clear()
    job = client.submit("slow castle", provider="paid")
    books.wait_for_create("slow castle")
    canceled = client.http.post(f"/v1/jobs/{job['id']}/cancel").json()
    books.wait_for_cancel()

    assert canceled["status"] == "canceled"
    assert client.get(job["id"])["status"] == "canceled"
