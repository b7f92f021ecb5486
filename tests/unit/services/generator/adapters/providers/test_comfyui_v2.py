"""The provider kind `comfyui` at Comfy API v2: what is sent, and what each state and answer comes to."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.generator.adapters.providers import factory
from services.generator.adapters.providers.comfyui.api_v2 import ComfyUIV2Provider
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.procedural.process_pool import Renderers
from services.generator.domain.jobs import InputImage, Request
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    Operation,
    Pending,
    ProviderError,
)
from services.generator.ports import ProviderRequest
from tests.support.generator.decoder import decoder
from tests.support.providers.http_transport import HandlerTransport

WORKFLOW: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["6", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
    "10": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
}
SLOTS = {"prompt": "6.inputs.text", "seed": "3.inputs.seed", "image": "10.inputs.image"}
ORDER = ProviderRequest(
    call_id="call_1", idempotency_key="call_1", model="m", count=1, request=Request(prompt="x"), seed=7
)
KEY = "a-secret-key"
BASE = "http://127.0.0.1:8189"
OPERATION = Operation(id="job_1", state={"model": "m", "count": "1", "seed": "7", "self": f"{BASE}/api/v2/jobs/job_1"})
URLS = {"self": "/api/v2/jobs/job_1", "events": "/api/v2/jobs/job_1/events", "cancel": "/api/v2/jobs/job_1/cancel"}
JOB: dict[str, Any] = {"id": "job_1", "status": "queued", "progress": None, "outputs": [], "error": None, "urls": URLS}
REUSED = httpx.Response(422, json={"error": {"code": "idempotency_key_reuse", "message": "used"}})


def entry(*, price: int | None = None, **fields: Any) -> ComfyUIEntry:
    """An entry of the provider file."""
    settings = {"api": "v2", "workflow": WORKFLOW, "slots": SLOTS}
    model = {"name": "m"} | ({} if price is None else {"price_micros_per_image": price})
    return ComfyUIEntry.model_validate(
        {"name": "cloud", "kind": "comfyui", "models": [model], "settings": settings} | fields
    )


class Server:
    """Answers in turn, the last for good; keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = list(answers)

    def take(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        self.asked.append(request)
        told = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return told if isinstance(told, httpx.Response) else httpx.Response(200, json=told)


async def asked_of(
    server: Server, work: Callable[[ComfyUIV2Provider], Any], *, price: int | None = None, key: str = KEY
) -> Any:
    """What the adapter makes of a server."""
    provider = ComfyUIV2Provider(entry(price=price), api_key=key, transport=HandlerTransport(server.take))
    try:
        return await work(provider)
    finally:
        await provider.close()


async def test_an_entry_says_by_its_settings_which_api_it_is() -> None:
    renderers = Renderers(1)
    built = factory.build(entry(), environ={}, renderers=renderers, decoder=decoder())
    await built.close()
    await renderers.close()

    assert isinstance(built, ComfyUIV2Provider)


async def test_a_workflow_is_submitted_once_under_a_key_that_follows_from_the_call() -> None:
    server = Server(httpx.Response(201, json=JOB))
    operation = await asked_of(server, lambda provider: provider.submit(ORDER))
    again = Server(httpx.Response(201, json=JOB))
    await asked_of(again, lambda provider: provider.submit(ORDER))
    [asked] = server.asked
    workflow = json.loads(asked.content)["workflow"]

    assert (asked.method, asked.url.path, asked.headers["authorization"]) == ("POST", "/api/v2/jobs", f"Bearer {KEY}")
    assert (workflow["6"]["inputs"]["text"], workflow["3"]["inputs"]["seed"]) == ("x", 7)
    assert UUID(asked.headers["idempotency-key"])
    assert again.asked[0].headers["idempotency-key"] == asked.headers["idempotency-key"]
    assert (operation.id, operation.state["self"]) == ("job_1", f"{BASE}/api/v2/jobs/job_1")


async def test_a_picture_becomes_an_asset_that_the_workflow_names() -> None:
    places = (InputImage(index=0, url=None, content_type="image/png"),)
    order = replace(ORDER, request=replace(ORDER.request, inputs=places), inputs=(b"\x89PNG",))
    server = Server(httpx.Response(201, json={"id": "asset_1"}), httpx.Response(201, json=JOB))
    await asked_of(server, lambda provider: provider.submit(order))
    upload, create = server.asked

    assert upload.url.path == "/api/v2/assets"
    for part in (b'name="file"; filename="calotype-', b'name="content_type"\r\n\r\nimage/png', b'name="file_path"'):
        assert part in upload.content
    asset = json.loads(create.content)["workflow"]["10"]["inputs"]["image"]
    assert asset == {"__type": "core/ASSET", "info": {"id": "asset_1"}}


async def test_an_upload_that_fails_has_bought_nothing() -> None:
    places = (InputImage(index=0, url=None, content_type="image/png"),)
    order = replace(ORDER, request=replace(ORDER.request, inputs=places), inputs=(b"\x89PNG",))
    with pytest.raises(ProviderError) as error:
        await asked_of(Server(httpx.Response(500)), lambda provider: provider.submit(order))

    assert error.value.acceptance is Acceptance.NOT_ACCEPTED


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (401, "unauthorized", ("AUTH_ERROR", "PROVIDER_AUTH", Acceptance.NOT_ACCEPTED)),
        (402, "insufficient_credits", ("PERMANENT", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED)),
        (409, "idempotency_conflict", ("UNKNOWN", "UNCLASSIFIED", Acceptance.UNKNOWN)),
        (422, "invalid_workflow", ("PERMANENT", "INVALID_INPUT", Acceptance.NOT_ACCEPTED)),
        (422, "workflow_format_ui", ("PERMANENT", "PROVIDER_REJECTED", Acceptance.NOT_ACCEPTED)),
        (422, "missing_asset", ("TEMPORARY", "PROVIDER_UNAVAILABLE", Acceptance.NOT_ACCEPTED)),
        (429, "queue_full", ("RATE_LIMIT", "PROVIDER_RATE_LIMIT", Acceptance.NOT_ACCEPTED)),
        (500, "internal", ("TEMPORARY", "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN)),
    ],
)
async def test_what_is_refused_is_told_by_its_code(status: int, code: str, told: tuple[Any, ...]) -> None:
    answer = httpx.Response(status, json={"error": {"code": code, "message": "no", "details": None}})
    with pytest.raises(ProviderError) as error:
        await asked_of(Server(answer), lambda provider: provider.submit(ORDER))

    assert (error.value.code, error.value.reason, error.value.acceptance) == told
    assert error.value.vendor.code == code


async def test_a_call_that_costs_and_was_taken_before_is_not_sent_under_another_key() -> None:
    server = Server(REUSED)
    with pytest.raises(ProviderError) as error:
        await asked_of(server, lambda provider: provider.submit(ORDER), price=40_000)

    assert (error.value.reason, error.value.acceptance) == ("RESULT_LOST", Acceptance.ACCEPTED)
    assert len(server.asked) == 1


async def test_a_call_that_costs_nothing_and_was_taken_before_is_sent_under_another_key() -> None:
    server = Server(REUSED, httpx.Response(201, json=JOB))
    await asked_of(server, lambda provider: provider.submit(ORDER), price=0)
    first, second = (request.headers["idempotency-key"] for request in server.asked)

    assert first != second


@pytest.mark.parametrize(
    ("price", "key", "is_free"),
    [(None, "", True), (0, "", True), (40_000, "", False), (None, "key", False), (0, "key", True)],
)
async def test_a_provider_without_a_price_is_free_unless_its_server_knows_whom_to_bill(
    price: int | None, key: str, is_free: bool
) -> None:
    provider = ComfyUIV2Provider(entry(price=price), api_key=key)
    await provider.close()

    assert (provider.traits.free, provider.traits.idempotent, provider.traits.resumable) == (is_free, True, True)


@pytest.mark.parametrize(
    ("job", "progress"),
    [
        ({"status": "queued", "progress": None}, None),
        ({"status": "running", "progress": {"value": 0.42, "nodes_done": 1, "nodes_total": 3}}, 0.42),
        ({"status": "running", "progress": {"value": 7}}, None),
        ({"status": "canceling", "progress": {}}, None),
    ],
)
async def test_a_job_that_goes_on_tells_how_far_it_is(job: dict[str, Any], progress: float | None) -> None:
    server = Server(JOB | job)

    assert await asked_of(server, lambda provider: provider.poll(OPERATION)) == Pending(progress=progress)
    assert server.asked[0].url.path == "/api/v2/jobs/job_1"


async def test_a_job_that_succeeded_brings_its_images_and_nothing_else() -> None:
    outputs = [
        {"type": "text", "url": "https://cdn.example/words.txt"},
        {"type": "image", "url": "https://cdn.example/a.png?sig=1"},
        {"type": "image", "url": "https://cdn.example/preview.png"},
    ]
    server = Server(JOB | {"status": "succeeded", "outputs": outputs})
    made = await asked_of(server, lambda provider: provider.poll(OPERATION), price=40_000)

    assert isinstance(made, Generated)
    assert [(image.url, image.seed) for image in made.images] == [("https://cdn.example/a.png?sig=1", 7)]
    assert made.cost_micros == 40_000
    assert len(server.asked) == 1


async def test_an_image_on_the_server_itself_is_read_with_the_key() -> None:
    outputs = [{"type": "image", "url": "/api/v2/assets/asset_1/content"}]
    server = Server(JOB | {"status": "succeeded", "outputs": outputs}, httpx.Response(200, content=b"a picture"))
    made = await asked_of(server, lambda provider: provider.poll(OPERATION))

    assert [image.data for image in made.images] == [b"a picture"]
    assert server.asked[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"status": "canceled"}, ("TIMEOUT", "PROVIDER_CANCELED", Acceptance.ACCEPTED)),
        ({"status": "expired"}, ("TIMEOUT", "RESULT_LOST", Acceptance.ACCEPTED)),
        ({"status": "succeeded"}, ("UNKNOWN", "UNCLASSIFIED", Acceptance.ACCEPTED)),
        (
            {"status": "failed", "error": {"code": "node_execution_error", "message": "CUDA out of memory"}},
            ("TEMPORARY", "PROVIDER_UNAVAILABLE", Acceptance.ACCEPTED),
        ),
        ({"status": "failed", "error": None}, ("PERMANENT", "PROVIDER_REJECTED", Acceptance.ACCEPTED)),
        ({"status": "dreaming"}, ("TEMPORARY", "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN)),
    ],
    ids=lambda told: str(told.get("status")) if isinstance(told, dict) else "",
)
async def test_a_job_that_brings_nothing_says_why(job: dict[str, Any], told: tuple[Any, ...]) -> None:
    with pytest.raises(ProviderError) as error:
        await asked_of(Server(JOB | job), lambda provider: provider.poll(OPERATION))

    assert (error.value.code, error.value.reason, error.value.acceptance) == told


@pytest.mark.parametrize(
    ("answer", "reason", "acceptance"),
    [
        (httpx.Response(404), "RESULT_LOST", Acceptance.ACCEPTED),
        (httpx.Response(503), "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN),
        (httpx.Response(401), "PROVIDER_AUTH", Acceptance.UNKNOWN),
        (httpx.Response(200, text="<html>"), "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN),
    ],
    ids=["404", "503", "401", "html"],
)
async def test_a_look_that_is_not_answered_says_nothing_of_the_job_but_that_it_is_gone(
    answer: httpx.Response, reason: str, acceptance: Acceptance
) -> None:
    with pytest.raises(ProviderError) as error:
        await asked_of(Server(answer), lambda provider: provider.poll(OPERATION))

    assert (error.value.reason, error.value.acceptance) == (reason, acceptance)


async def test_the_key_goes_to_no_address_that_an_answer_names_elsewhere() -> None:
    strayed = Operation(id="job_1", state=OPERATION.state | {"self": "https://elsewhere.example/jobs/job_1"})
    server = Server(JOB)
    await asked_of(server, lambda provider: provider.poll(strayed))

    assert str(server.asked[0].url) == f"{BASE}/api/v2/jobs/job_1"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("canceled", CancelOutcome.CONFIRMED), ("succeeded", CancelOutcome.TOO_LATE), ("failed", CancelOutcome.TOO_LATE)],
)
async def test_a_job_is_canceled_by_its_id(status: str, outcome: CancelOutcome) -> None:
    server = Server(JOB | {"status": status})

    assert await asked_of(server, lambda provider: provider.cancel(OPERATION)) is outcome
    assert (server.asked[0].method, server.asked[0].url.path) == ("POST", "/api/v2/jobs/job_1/cancel")


async def test_a_job_that_has_not_stopped_yet_is_asked_again() -> None:
    with pytest.raises(ProviderError) as error:
        await asked_of(Server(JOB | {"status": "canceling"}), lambda provider: provider.cancel(OPERATION))

    assert error.value.retryable
