"""What the golden of `fal` cannot say: names of sizes, other addresses in the ledger, results out of all measure."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from services.generator.adapters.providers.entry_fields import ModelEntry
from services.generator.adapters.providers.fal import provider as fal
from services.generator.adapters.providers.fal.entry import FalEntry, FalSettings
from services.generator.adapters.providers.fal.provider import FalProvider
from services.generator.adapters.providers.http import responses
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, Generated, Operation, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport

OWN = "https://queue.fal.run/fal-ai/flux/requests/r1"
STATE = {"status_url": f"{OWN}/status", "response_url": OWN, "cancel_url": f"{OWN}/cancel", "model": "fal-ai/flux/dev"}
TAKEN = httpx.Response(200, json={"request_id": "r1", **STATE})


class Script:
    """Answers by the end of the path, and keeps what was asked."""

    def __init__(self, answers: Mapping[str, httpx.Response]) -> None:
        self._answers = answers
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Take a request."""
        self.asked.append(request)
        return self._answers[request.url.path.rpartition("/")[2]]


def provider(script: Script, **settings: Any) -> FalProvider:
    """The adapter in front of a script."""
    entry = FalEntry(
        name="paid", kind="fal", models=(ModelEntry(name="fal-ai/flux/dev"),), settings=FalSettings(**settings)
    )
    return FalProvider(entry, api_key="the-key", transport=HandlerTransport(script))


def order(model: str = "fal-ai/flux/dev", **request: Any) -> ProviderRequest:
    """A call."""
    wanted = Request(prompt="a harbour", **request)
    return ProviderRequest(call_id="c1", idempotency_key="c1", model=model, count=1, request=wanted)


def test_named_sizes_are_all_that_is_offered() -> None:
    offers = provider(Script({}), size_names={"1024x768": "landscape_4_3"}).describe(is_default=False).capabilities

    assert (list(offers.sizes), offers.min_side, offers.max_side) == (["1024x768"], 0, 0)


def test_free_sizes_are_offered_within_their_limits() -> None:
    offers = provider(Script({}), max_side=2048).describe(is_default=False).capabilities

    assert (list(offers.sizes), offers.min_side, offers.max_side) == ([], 256, 2048)


def test_a_field_without_an_input_is_not_offered() -> None:
    offers = provider(Script({}), inputs={"prompt": "text"}).describe(is_default=False).capabilities

    assert (offers.seed, offers.max_side) == (False, 0)
    assert (list(offers.output_formats), list(offers.aspect_ratios)) == ([], [])


async def test_a_named_size_is_sent_by_its_name() -> None:
    script = Script({"dev": TAKEN})
    await provider(script, size_names={"1024x768": "landscape_4_3"}).submit(order(size="1024x768"))

    assert script.asked[0].content == b'{"prompt":"a harbour","image_size":"landscape_4_3"}'


@pytest.mark.parametrize("model", ["fal-ai/dev?fal_webhook=x", "../workflows/x", "a//b", "a/../b", "", "a/b c"])
async def test_what_is_no_models_name_is_in_no_address(model: str) -> None:
    script = Script({})
    with pytest.raises(ProviderError) as refusal:
        await provider(script).submit(order(model))

    assert (refusal.value.reason, refusal.value.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)
    assert script.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/requests/r1",
        "http://queue.fal.run/requests/r1",
        "https://queue.fal.run.test/requests/r1",
        "https://queue.fal.run:8443/requests/r1",
        "https://user:word@queue.fal.run/requests/r1",
        "https://queue.fal.run\\@elsewhere.test/requests/r1",
        "https://queue.fal.run\n/requests/r1",
        "https://xn--/requests/r1",
        "https://queue.fal.run/" + "r" * 3000,
    ],
)
@pytest.mark.parametrize("name", fal.ADDRESSES)
async def test_an_address_elsewhere_is_not_kept(name: str, address: str) -> None:
    told = httpx.Response(200, json={"request_id": "r1", **STATE, name: address})
    with pytest.raises(ProviderError) as caught:
        await provider(Script({"dev": told})).submit(order())

    error = caught.value
    assert (error.reason, error.acceptance, error.vendor.request_id) == ("UNCLASSIFIED", Acceptance.UNKNOWN, "r1")


async def test_an_address_elsewhere_in_the_ledger_is_not_asked() -> None:
    script = Script({})
    operation = Operation(id="r1", state={**STATE, "status_url": "https://elsewhere.test/r1/status"})
    with pytest.raises(ProviderError) as caught:
        await provider(script).poll(operation)

    assert (caught.value.acceptance, script.asked) == (Acceptance.UNKNOWN, [])


async def test_a_result_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "max_bytes", lambda images: 10 * images)
    done = httpx.Response(200, json={"status": "COMPLETED"})
    big = httpx.Response(200, json={"images": [{"url": "https://a.test/0"}]})
    with pytest.raises(ProviderError) as caught:
        await provider(Script({"status": done, "r1": big})).poll(Operation(id="r1", state=STATE))

    assert (caught.value.reason, caught.value.acceptance) == ("UNCLASSIFIED", Acceptance.ACCEPTED)


@pytest.mark.parametrize(
    ("answer", "acceptance"),
    [
        (httpx.Response(401, json={"detail": "Invalid key"}), Acceptance.UNKNOWN),
        (httpx.Response(429, json={"detail": "Too many requests"}), Acceptance.UNKNOWN),
        (httpx.Response(503, text="upstream"), Acceptance.UNKNOWN),
        (httpx.Response(200, text="not a result"), Acceptance.UNKNOWN),
        (httpx.Response(500, headers={"x-fal-request-id": "r1"}, text="broken"), Acceptance.ACCEPTED),
        (httpx.Response(422, json={"detail": "not a list"}), Acceptance.ACCEPTED),
    ],
)
async def test_only_the_requests_own_end_ends_it(answer: httpx.Response, acceptance: Acceptance) -> None:
    done = httpx.Response(200, json={"status": "COMPLETED"})
    with pytest.raises(ProviderError) as caught:
        await provider(Script({"status": done, "r1": answer})).poll(Operation(id="r1", state=STATE))

    assert caught.value.acceptance is acceptance


async def test_a_failure_that_only_the_status_tells_is_final() -> None:
    done = httpx.Response(200, json={"status": "COMPLETED", "error_type": "runner_disconnected"})
    answer = httpx.Response(503, text="upstream")
    with pytest.raises(ProviderError) as caught:
        await provider(Script({"status": done, "r1": answer})).poll(Operation(id="r1", state=STATE))

    error = caught.value
    assert (error.acceptance, error.vendor.code) == (Acceptance.ACCEPTED, "runner_disconnected")


async def test_a_refusal_is_found_among_other_details() -> None:
    done = httpx.Response(200, json={"status": "COMPLETED"})
    details = [{"type": "int_parsing"}, "words", {"type": "content_policy_violation"}]
    script = Script({"status": done, "r1": httpx.Response(422, json={"detail": details})})
    with pytest.raises(ProviderError) as caught:
        await provider(script).poll(Operation(id="r1", state=STATE))

    assert caught.value.reason == "CONTENT_POLICY"


@pytest.mark.parametrize("seed", ["7", True, -1, 2**63, 1.5, None])
async def test_a_seed_that_is_none_is_not_kept(seed: Any) -> None:
    done = httpx.Response(200, json={"status": "COMPLETED"})
    result = httpx.Response(200, json={"images": [{"url": "https://a.test/0"}], "seed": seed})
    came = await provider(Script({"status": done, "r1": result})).poll(Operation(id="r1", state=STATE))

    assert isinstance(came, Generated)
    assert came.images[0].seed is None
