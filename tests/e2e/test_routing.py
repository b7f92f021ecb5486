"""A provider that sells nothing is gone around where the job allows it, and rested until it is well."""

from typing import Any

import pytest

from tests.support.providers.paid_provider import Books
from tests.support.stacks.stack_clients import Client


def health_of(client: Client, name: str) -> dict[str, Any]:
    providers = client.http.get("/v1/providers").json()["providers"]
    found: dict[str, Any] = next(one["health"] for one in providers if one["name"] == name)
    return found


def asked_in_its_claims(client: Client, job: dict[str, Any]) -> list[list[tuple[str, str]]]:
    """Of each claim for generation the providers that were asked, and how that ended."""
    attempts = client.http.get(f"/v1/jobs/{job['id']}/attempts").json()["attempts"]
    claims = [attempt for attempt in attempts if attempt["stage"] == "generating"]
    return [[(call["provider"], call["phase"]) for call in claim["provider_calls"]] for claim in claims]


@pytest.mark.parametrize(
    ("provider", "ends", "body"),
    [
        ("limited", "not_sent", {}),
        ("unpaid", "not_sent", {}),
        ("unreachable", "not_sent", {}),
        # It is free: what it did not answer well was not bought.
        ("overloaded", "failed", {}),
        ("strict", "refused", {"fallback_on_refusal": True}),
    ],
)
def test_the_fallback_is_asked_within_the_claim_and_the_first_provider_once(
    client: Client, books: Books, provider: str, ends: str, body: dict[str, Any]
) -> None:
    prompt = f"a harbour of which {provider} makes nothing"
    job = client.follow(client.submit(prompt, provider=provider, fallback=["procedural"], **body)["id"])

    assert job["status"] == "completed", job["error"]
    assert asked_in_its_claims(client, job) == [[(provider, ends), ("procedural", "succeeded")]]
    assert sum(prompt in body for body in books.turned_away) == (provider != "unreachable")


def test_a_refused_prompt_is_shown_to_nobody_else_unless_the_job_says_so(client: Client, books: Books) -> None:
    prompt = "a harbour that is not for everybody"
    job = client.follow(client.submit(prompt, provider="strict", fallback=["procedural"])["id"])

    assert (job["status"], job["error"]["reason"]) == ("failed", "CONTENT_POLICY")
    assert asked_in_its_claims(client, job) == [[("strict", "refused")]]
    assert sum(prompt in body for body in books.turned_away) == 1


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
