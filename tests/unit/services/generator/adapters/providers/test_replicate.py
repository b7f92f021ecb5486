"""The provider kind `replicate`: exactly the requests of its contract, and every answer classified."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.generator.adapters.providers.entry_fields import Defaults, ModelEntry
from services.generator.adapters.providers.option_rules import OptionRule
from services.generator.adapters.providers.replicate.entry import ReplicateEntry, ReplicateSettings
from services.generator.adapters.providers.replicate.provider import ReplicateProvider
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    Operation,
    Pending,
    ProviderError,
)
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport

BASE = "https://api.example/v1"
MODEL = "black-forest-labs/flux-schnell"
KEY = "r8_secret"
ENTRY = ReplicateEntry(
    name="flux",
    kind="replicate",
    base_url=BASE,
    default_model=MODEL,
    models=(ModelEntry(name=MODEL, price_micros_per_image=3_000),),
    timeout_seconds=90,
)
CREATED = {
    "id": "p1",
    "status": "starting",
    "urls": {"get": f"{BASE}/predictions/p1", "cancel": f"{BASE}/predictions/p1/cancel"},
}
OPERATION = Operation(
    id="p1",
    state={"get": f"{BASE}/predictions/p1", "cancel": f"{BASE}/predictions/p1/cancel", "model": MODEL, "count": "1"},
)


class Script:
    """Answers as told, and keeps what was asked."""

    def __init__(self, answer: httpx.Response | Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Take a request."""
        self.asked.append(request)
        return self._answer if isinstance(self._answer, httpx.Response) else self._answer(request)


def provider(script: Script, entry: ReplicateEntry = ENTRY) -> ReplicateProvider:
    """The adapter in front of a script."""
    return ReplicateProvider(entry, api_key=KEY, transport=HandlerTransport(script))


def order(*, model: str = MODEL, **request: Any) -> ProviderRequest:
    """One image."""
    wanted = Request(**({"prompt": "a harbour"} | request))
    return ProviderRequest(
        call_id="call_1", idempotency_key="call_1", model=model, count=1, request=wanted, seed=wanted.seed
    )


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        ("acme/paint", "/models/acme/paint/predictions", None),
        ("acme/paint:abc123", "/predictions", "abc123"),
        ("0" * 64, "/predictions", "0" * 64),
        ("deployments/acme/own", "/deployments/acme/own/predictions", None),
    ],
)
async def test_a_model_may_be_a_version_or_a_deployment(model: str, path: str, version: str | None) -> None:
    script = Script(httpx.Response(201, json=CREATED))
    await provider(script, ENTRY.model_copy(update={"default_model": model})).submit(order(model=model))

    assert str(script.asked[0].url) == f"{BASE}{path}"
    assert json.loads(script.asked[0].content).get("version") == version


@pytest.mark.parametrize(
    "model", ["../predictions/p/cancel?x=", "acme/paint?x=", "../trainings#", "deployments/acme", "abc123", "a/b:../c"]
)
async def test_what_is_no_models_name_is_in_no_address(model: str) -> None:
    script = Script(httpx.Response(201, json=CREATED))
    with pytest.raises(ProviderError) as refusal:
        await provider(script).submit(order(model=model))

    assert (refusal.value.reason, refusal.value.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)
    assert script.asked == []


def raising(error: type[httpx.TransportError]) -> Callable[[httpx.Request], httpx.Response]:
    """A connection that breaks."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise error("broken", request=request)

    return answer


async def submit_error(answer: Any) -> ProviderError:
    """What a submission comes to."""
    with pytest.raises(ProviderError) as error:
        await provider(Script(answer)).submit(order())
    return error.value


async def poll(body: dict[str, Any], status: int = 200) -> Generated | Pending:
    """What a poll comes to."""
    return await provider(Script(httpx.Response(status, json=CREATED | body))).poll(OPERATION)


async def test_a_prediction_is_created_as_the_contract_says() -> None:
    script = Script(httpx.Response(201, json=CREATED))
    operation = await provider(script).submit(order(seed=7, aspect_ratio="16:9", output_format="webp"))
    [request] = script.asked

    assert (request.method, str(request.url)) == ("POST", f"{BASE}/models/{MODEL}/predictions")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Cancel-After"] == "90s"
    assert json.loads(request.content) == {
        "input": {"prompt": "a harbour", "seed": 7, "aspect_ratio": "16:9", "output_format": "webp"}
    }
    assert operation == replace(OPERATION, state={**OPERATION.state, "seed": "7"})


async def test_a_version_is_created_at_its_own_address() -> None:
    script = Script(httpx.Response(201, json=CREATED))
    listed = ENTRY.model_copy(update={"default_model": "owner/name:abc123"})
    await provider(script, listed).submit(order(model="owner/name:abc123"))

    assert str(script.asked[0].url) == f"{BASE}/predictions"
    assert json.loads(script.asked[0].content)["version"] == "abc123"


@pytest.mark.parametrize(
    ("status", "body", "code", "reason", "retryable"),
    [
        (400, {"detail": "bad"}, "PERMANENT", "INVALID_INPUT", False),
        (401, {"title": "Unauthenticated"}, "AUTH_ERROR", "PROVIDER_AUTH", False),
        (402, {"title": "Billing"}, "PERMANENT", "QUOTA_EXHAUSTED", False),
        (403, {}, "AUTH_ERROR", "PROVIDER_AUTH", False),
        (404, {}, "PERMANENT", "PROVIDER_REJECTED", False),
        (422, {"detail": "input"}, "PERMANENT", "INVALID_INPUT", False),
        (429, {"detail": "throttled"}, "RATE_LIMIT", "PROVIDER_RATE_LIMIT", True),
    ],
)
async def test_an_answer_that_refuses_surely_bought_nothing(
    status: int, body: dict[str, str], code: str, reason: str, retryable: bool
) -> None:
    error = await submit_error(httpx.Response(status, json=body))

    assert (error.code, error.reason, error.retryable) == (code, reason, retryable)
    assert error.acceptance is Acceptance.NOT_ACCEPTED
    assert error.vendor.http_status == status


async def test_the_time_of_a_throttle_is_read_from_its_words() -> None:
    words = "Request was throttled. Your rate limit resets in ~30s."

    assert (await submit_error(httpx.Response(429, json={"detail": words}))).retry_after_seconds == 30


@pytest.mark.parametrize("status", [500, 502, 503, 418])
async def test_an_answer_that_nobody_knows_may_have_bought(status: int) -> None:
    assert (await submit_error(httpx.Response(status, text="?"))).acceptance is Acceptance.UNKNOWN


@pytest.mark.parametrize(
    ("error", "acceptance"),
    [
        (httpx.ConnectError, Acceptance.NOT_ACCEPTED),
        (httpx.ConnectTimeout, Acceptance.NOT_ACCEPTED),
        (httpx.ReadTimeout, Acceptance.UNKNOWN),
        (httpx.WriteError, Acceptance.UNKNOWN),
        (httpx.RemoteProtocolError, Acceptance.UNKNOWN),
    ],
)
async def test_a_broken_connection_is_certain_only_before_anything_was_sent(
    error: type[httpx.TransportError], acceptance: Acceptance
) -> None:
    assert (await submit_error(raising(error))).acceptance is acceptance


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"id": 5, "urls": {}}', b"x" * 5_000_000])
async def test_an_answer_of_another_shape_may_have_bought(body: bytes) -> None:
    error = await submit_error(httpx.Response(201, content=body))

    assert (error.code, error.acceptance) == ("UNKNOWN", Acceptance.UNKNOWN)


@pytest.mark.parametrize("status", ["starting", "processing"])
async def test_a_prediction_under_way_is_pending(status: str) -> None:
    assert await poll({"status": status}) == Pending()


@pytest.mark.parametrize("output", ["https://x/1.png", ["https://x/1.png", "https://x/2.png"]])
async def test_a_success_is_its_images_and_their_price(output: Any) -> None:
    made = await poll({"status": "succeeded", "output": output})
    urls = [output] if isinstance(output, str) else output

    assert isinstance(made, Generated)
    assert [image.url for image in made.images] == urls
    assert made.cost_micros == 3_000 * len(urls)


async def test_what_is_no_address_among_images_is_kept_as_it_came() -> None:
    made = await poll({"status": "succeeded", "output": [{"file": "https://x/1.png"}, "https://x/2.png"]})

    assert isinstance(made, Generated)
    assert [image.url for image in made.images] == ["https://x/2.png", None]


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ({"status": "failed", "error": "NSFW content detected"}, "PERMANENT", "CONTENT_POLICY"),
        ({"status": "failed", "error": "flagged as sensitive (E005)"}, "PERMANENT", "CONTENT_POLICY"),
        ({"status": "failed", "error": "CUDA out of memory"}, "TEMPORARY", "PROVIDER_UNAVAILABLE"),
        ({"status": "failed", "error": "Prediction interrupted; please retry"}, "TEMPORARY", "PROVIDER_UNAVAILABLE"),
        (
            {"status": "failed", "error": "flagged. Try again with others (E005)"},
            "PERMANENT",
            "CONTENT_POLICY",
        ),
        ({"status": "failed", "error": "CUDA out of memory in safety_checker"}, "TEMPORARY", "PROVIDER_UNAVAILABLE"),
        ({"status": "failed", "error": "safety_tolerance must be <= 2"}, "PERMANENT", "PROVIDER_REJECTED"),
        ({"status": "failed", "error": "names are case-sensitive"}, "PERMANENT", "PROVIDER_REJECTED"),
        ({"status": "failed", "error": "no such input: disable_nsfw_checker"}, "PERMANENT", "PROVIDER_REJECTED"),
        ({"status": "failed", "error": "The queue has reached its limit"}, "TEMPORARY", "PROVIDER_UNAVAILABLE"),
        ({"status": "failed", "error": "Internal error. Please try again!"}, "TEMPORARY", "PROVIDER_UNAVAILABLE"),
        ({"status": "failed", "error": "Something broke (E1000)"}, "TEMPORARY", "PROVIDER_UNAVAILABLE"),
        ({"status": "failed", "error": "It did not start in time. E6716"}, "TEMPORARY", "PROVIDER_UNAVAILABLE"),
        ({"status": "failed", "error": "width is not allowed (E006)"}, "PERMANENT", "INVALID_INPUT"),
        ({"status": "failed", "error": {"detail": "nsfw"}}, "PERMANENT", "CONTENT_POLICY"),
        ({"status": "failed", "error": None}, "PERMANENT", "PROVIDER_REJECTED"),
        ({"status": "canceled"}, "TIMEOUT", "PROVIDER_CANCELED"),
        ({"status": "aborted"}, "TIMEOUT", "PROVIDER_CANCELED"),
        ({"status": "succeeded", "output": None}, "UNKNOWN", "UNCLASSIFIED"),
        ({"status": "succeeded", "output": [5]}, "UNKNOWN", "UNCLASSIFIED"),
        ({"status": "dreaming"}, "UNKNOWN", "UNCLASSIFIED"),
    ],
)
async def test_an_end_without_images_is_classified(body: dict[str, Any], code: str, reason: str) -> None:
    with pytest.raises(ProviderError) as error:
        await poll(body)
    assert (error.value.code, error.value.reason) == (code, reason)
    assert error.value.acceptance is Acceptance.ACCEPTED


@pytest.mark.parametrize("status", [404, 410])
async def test_a_prediction_that_is_gone_is_a_lost_result(status: int) -> None:
    with pytest.raises(ProviderError) as error:
        await poll({}, status)
    assert (error.value.reason, error.value.retryable) == ("RESULT_LOST", False)


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"x" * 5_000_000])
async def test_a_poll_that_tells_nothing_is_asked_again(content: bytes) -> None:
    with pytest.raises(ProviderError) as error:
        await provider(Script(httpx.Response(200, content=content))).poll(OPERATION)
    assert (error.value.retryable, error.value.acceptance) == (True, Acceptance.UNKNOWN)


async def test_a_poll_that_is_refused_says_nothing_about_the_operation() -> None:
    with pytest.raises(ProviderError) as error:
        await poll({}, 401)
    assert (error.value.code, error.value.retryable) == ("AUTH_ERROR", False)
    assert error.value.acceptance is Acceptance.UNKNOWN


async def test_a_throttled_poll_says_when_to_ask_again() -> None:
    with pytest.raises(ProviderError) as error:
        await provider(Script(httpx.Response(429, json={"detail": "resets in ~12s"}))).poll(OPERATION)
    assert error.value.retry_after_seconds == 12


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_poll_that_is_not_answered_is_asked_again(status: int) -> None:
    with pytest.raises(ProviderError) as error:
        await poll({}, status)
    assert (error.value.retryable, error.value.acceptance) == (True, Acceptance.UNKNOWN)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.Response(200, json=CREATED | {"status": "canceled"}), CancelOutcome.CONFIRMED),
        (httpx.Response(204), CancelOutcome.CONFIRMED),
        (httpx.Response(200, json=CREATED | {"status": "succeeded"}), CancelOutcome.TOO_LATE),
        (httpx.Response(404), CancelOutcome.TOO_LATE),
    ],
)
async def test_a_cancel_tells_whether_it_came_in_time(answer: httpx.Response, outcome: CancelOutcome) -> None:
    script = Script(answer)

    assert await provider(script).cancel(OPERATION) is outcome
    assert (script.asked[0].method, str(script.asked[0].url)) == ("POST", f"{BASE}/predictions/p1/cancel")


async def test_the_key_goes_to_no_other_host() -> None:
    script = Script(httpx.Response(200, json=CREATED))
    elsewhere = Operation(id="p1", state={"get": "https://evil.example/p1", "cancel": "http://api.example/p1"})
    adapter = provider(script)
    await adapter.poll(elsewhere)
    await adapter.cancel(elsewhere)

    assert {request.url.host for request in script.asked} == {"api.example"}
    assert {request.url.scheme for request in script.asked} == {"https"}


async def test_the_key_is_in_no_error_even_if_the_provider_repeats_it() -> None:
    error = await submit_error(httpx.Response(401, json={"detail": f"no such token: {KEY}"}))
    with pytest.raises(ProviderError) as failed:
        await poll({"status": "failed", "error": f"bad token {KEY}"})

    assert "no such token" in error.vendor.message
    for one in (error, failed.value):
        assert KEY not in f"{one!r} {one} {one.vendor}"


async def test_fields_go_into_the_inputs_that_the_file_names() -> None:
    settings = ReplicateSettings(
        inputs={"prompt": "text", "width": "w", "height": "h", "n": "count", "output_format": "format"},
        max_images_per_call=4,
    )
    defaults = Defaults(size="512x768", provider_options={"steps": 4})
    script = Script(httpx.Response(201, json=CREATED))
    told = {"settings": settings, "defaults": defaults, "allowed_options": {"*": OptionRule(type="any")}}
    adapter = provider(script, ENTRY.model_copy(update=told))
    await adapter.submit(replace(order(seed=3, output_format="jpeg", options={"steps": 2}), count=3))

    assert json.loads(script.asked[0].content)["input"] == {
        "text": "a harbour",
        "w": 512,
        "h": 768,
        "count": 3,
        "format": "jpg",
        "steps": 2,
    }


@pytest.mark.parametrize(
    ("settings", "sent", "sizes", "max_side"),
    [
        ({}, "1024x1024", [], 1440),
        ({"size_names": {"1024x1024": "1024*1024", "512x512": "512*512"}}, "1024*1024", ["1024x1024", "512x512"], 0),
    ],
)
async def test_a_size_goes_as_one_string_or_by_its_name(
    settings: dict[str, Any], sent: str, sizes: list[str], max_side: int
) -> None:
    told = ReplicateSettings(inputs={"prompt": "prompt", "size": "resolution"}, **settings)
    script = Script(httpx.Response(201, json=CREATED))
    speaking = provider(script, ENTRY.model_copy(update={"settings": told}))
    await speaking.submit(order(size="1024x1024"))
    offers = speaking.describe(is_default=False).capabilities

    assert json.loads(script.asked[0].content)["input"] == {"prompt": "a harbour", "resolution": sent}
    assert (list(offers.sizes), offers.max_side) == (sizes, max_side)


def test_the_ratios_of_flux_schnell_are_offered_where_the_file_says_nothing() -> None:
    told = provider(Script(httpx.Response(500))).describe(is_default=True).capabilities

    assert len(told.aspect_ratios) == 11
    assert {"21:9", "9:21", "4:5", "5:4"} <= set(told.aspect_ratios)


@pytest.mark.parametrize(
    "name", ["flux", "a/b/c", "deployments/a", "deployments/a/b:abc123", "abc123", "a/b:x", "../b"]
)
def test_a_file_that_names_no_model_is_told_how_models_are_named(name: str) -> None:
    for told in ({"models": [{"name": name}]}, {"default_model": name}):
        with pytest.raises(ValidationError, match="write owner/name, owner/name:VERSION"):
            ReplicateEntry.model_validate({"name": "x", "kind": "replicate"} | told)


async def test_the_seed_of_a_single_image_is_told_again() -> None:
    operation = replace(OPERATION, state={**OPERATION.state, "seed": "7"})
    script = Script(httpx.Response(200, json=CREATED | {"status": "succeeded", "output": "https://x/1.png"}))
    made = await provider(script).poll(operation)

    assert isinstance(made, Generated)
    assert [image.seed for image in made.images] == [7]


async def test_an_id_of_the_providers_own_making_stays_within_its_path() -> None:
    script = Script(httpx.Response(200, json=CREATED))
    await provider(script).poll(Operation(id="../../account", state={}))

    assert script.asked[0].url.raw_path == b"/v1/predictions/..%2F..%2Faccount"


def test_the_catalogue_tells_what_the_adapter_does() -> None:
    told = provider(Script(httpx.Response(500))).describe(is_default=True)

    assert (told.name, told.kind, told.is_default, told.default_model) == ("flux", "replicate", True, MODEL)
    assert (told.capabilities.resumable, told.capabilities.cancelable) == (True, True)
    assert (told.capabilities.free, told.capabilities.idempotent, told.capabilities.max_side) == (False, False, 0)
    assert "16:9" in told.capabilities.aspect_ratios
    assert (told.models[0].price_micros_per_image, told.timeout_seconds) == (3_000, 90)


async def test_the_key_is_for_results_at_the_apis_own_host_alone() -> None:
    own = ReplicateProvider(ENTRY, api_key=KEY)
    root = own.base_url

    assert own.credential_for(f"{root}/files/f1/download") == {"Authorization": f"Bearer {KEY}"}
    for other in (
        "https://replicate.delivery/1.png",
        root.replace("https://", "http://") + "/files/f1",
        root.replace("https://", "https://user:word@") + "/files/f1",
        root.replace(httpx.URL(root).host, httpx.URL(root).host + ".example") + "/files/f1",
        "not an address",
    ):
        assert own.credential_for(other) == {}
    await own.close()
