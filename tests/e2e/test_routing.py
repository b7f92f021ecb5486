"""A provider that sells nothing is gone around where the job allows it, and rested until it is well."""

from typing import Any

from tests.support.paid_provider import Books
from tests.support.stack import Client


def health_of(client: Client, name: str) -> dict[str, Any]:
    providers = client.http.get("/v1/providers").json()["providers"]
    found: dict[str, Any] = next(one["health"] for one in providers if one["name"] == name)
    return found


def test_a_job_goes_to_its_fallback_when_surely_nothing_was_bought(client: Client, books: Books) -> None:
    prompt = "a harbour that nobody is paid for"
    job = client.follow(client.submit(prompt, provider="denied", fallback=["procedural"])["id"])
    attempts = client.http.get(f"/v1/jobs/{job['id']}/attempts").json()["attempts"]
    calls = [call for attempt in attempts for call in attempt["provider_calls"]]

    assert job["status"] == "completed", job["error"]
    assert (job["provider"], calls[-1]["provider"]) == ("denied", "procedural")
    assert all(call["phase"] == "not_sent" for call in calls if call["provider"] == "denied")
    assert job["cost"] == {"amount_micros": 0, "currency": "USD", "complete": True}
    assert books.count(prompt) == 0


def test_a_provider_that_refuses_the_credential_is_told_to_be_down_and_the_others_are_not(client: Client) -> None:
    client.follow(client.submit("asked in vain", provider="denied", fallback=["procedural"])["id"])
    health = health_of(client, "denied")

    assert health["status"] == "down"
    [outage] = health["outages"]
    assert (outage["code"], outage["reason"]) == ("AUTH_ERROR", "PROVIDER_AUTH")
    assert outage["since"] <= outage["next_try_at"]
    assert health_of(client, "procedural") == {"status": "ok", "outages": []}


def test_a_rested_provider_is_gone_around_without_being_asked(client: Client) -> None:
    client.follow(client.submit("first, in vain", provider="denied", fallback=["procedural"])["id"])
    job = client.follow(client.submit("then, at once", provider="denied", fallback=["procedural"])["id"])
    attempts = client.http.get(f"/v1/jobs/{job['id']}/attempts").json()["attempts"]

    assert job["status"] == "completed"
    assert [call["provider"] for attempt in attempts for call in attempt["provider_calls"]] == ["procedural"]


def test_a_fallback_that_cannot_do_what_is_asked_is_refused_at_once(client: Client) -> None:
    answer = client.http.post(
        "/v1/jobs", json={"prompt": "a harbour", "provider": "procedural", "fallback": ["nowhere"]}
    )

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "fallback.0"
