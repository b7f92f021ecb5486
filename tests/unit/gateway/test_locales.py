"""Words in the client's language."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from calotype.job.v1 import job_pb2

from gateway.views import locales
from gateway.views.display import JobCondition
from gateway.views.ui_states import STATES
from tests.support.gateway.job_conditions import job_conditions
from tests.support.job_service.fake_job_service import FakeJobService, failure


def _job_at(standing: JobCondition) -> dict[str, Any]:
    """What job-service tells of a job that stands so."""
    told: dict[str, Any] = {"status": job_pb2.Status.Value(f"STATUS_{standing.status.upper()}")}
    if standing.failure_stage and standing.code and standing.reason:
        told["failure"] = failure(standing.code, standing.reason, standing.failure_stage.upper())
    if standing.provider_cancel:
        told["provider_cancel"] = job_pb2.ProviderCancel.Value(f"PROVIDER_CANCEL_{standing.provider_cancel.upper()}")
    if standing.wait:
        told["wait"] = job_pb2.Wait(reason=job_pb2.WaitReason.Value(f"WAIT_REASON_{standing.wait.upper()}"))
    pictures = [] if standing.images_missing else [job_pb2.PublicArtifact(id="img_1")]
    return {**told, "artifacts": pictures, "retry_needs_consent": standing.retry_needs_consent}


def _words(told: Mapping[str, str]) -> tuple[str, str]:
    return told["title"], told["message"]


def _without_accents(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))


@pytest.mark.parametrize(
    ("accepted", "locale"),
    [
        ("", "en"),
        ("en-XA", "en-XA"),
        ("EN-xa", "en-XA"),
        ("en-XA-variant", "en-XA"),
        ("en-GB, en-XA;q=0.9", "en"),
        ("fr-CA, en-XA;q=0.4, de;q=0.8", "en-XA"),
        ("en;q=0.5, en-XA", "en-XA"),
        ("en-XA;q=0", "en"),
        ("de, *", "en"),
        ("en-XA;q=2, \x00, ;;;,,", "en"),
        ("fr," * 1_000 + "en-XA", "en"),
        ("a" * 100_000, "en"),
    ],
)
def test_the_language_that_is_liked_best_is_chosen(accepted: str, locale: str) -> None:
    assert locales.choose(accepted) == locale


def test_every_language_has_words_for_every_state_and_nothing_else() -> None:
    for locale, words in locales._TEXTS.items():
        assert set(words) == {state.key for state in STATES}, locale


def test_another_language_changes_words_alone() -> None:
    for state, translated in zip(STATES, locales.states(locales.TEST), strict=True):
        assert translated.title != state.title
        assert translated.message != state.message
        assert translated.model_copy(update={"title": state.title, "message": state.message}) == state


async def test_a_client_is_told_in_its_language(client: httpx.AsyncClient) -> None:
    asked = {"Accept-Language": "en-XA"}
    created = await client.post("/v1/jobs", json={"prompt": "a"}, headers=asked)
    listed = (await client.get("/v1/jobs", headers=asked)).json()["jobs"]
    states = (await client.get("/v1/ui-states", headers=asked)).json()["states"]

    assert created.headers["content-language"] == "en-XA"
    assert "Accept-Language" in created.headers["vary"]
    for told in (created.json()["display"], *(job["display"] for job in listed), *states):
        assert (told["title"][0], told["message"][-1]) == ("[", "]")


async def test_no_title_and_no_message_is_left_in_english(client: httpx.AsyncClient, service: FakeJobService) -> None:
    for standing in job_conditions():
        service.add(**_job_at(standing))

    async def told_in(locale: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        asked = {"Accept-Language": locale}
        jobs = (await client.get("/v1/jobs", headers=asked)).json()["jobs"]
        states = (await client.get("/v1/ui-states", headers=asked)).json()["states"]
        return [job["display"] for job in jobs], states

    for english, accented in zip(await told_in("en"), await told_in("en-XA"), strict=True):
        assert {told["key"] for told in english} == {state.key for state in STATES}
        for source, told in zip(english, accented, strict=True):
            for before, after in zip(_words(source), _words(told), strict=True):
                assert (_without_accents(after), after.isascii()) == (f"[{before}]", False)


async def test_a_client_that_asks_for_nothing_is_told_in_english(client: httpx.AsyncClient) -> None:
    created = await client.post("/v1/jobs", json={"prompt": "a"})

    assert created.headers["content-language"] == "en"
    assert created.json()["display"]["title"] == "In the queue"
