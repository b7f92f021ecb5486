"""The kind `generic`: what settings may say, what is sent for it, and what no answer can make it do."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from services.generator.adapters.providers.generic.entry import GenericEntry
from services.generator.adapters.providers.generic.provider import GenericProvider
from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.domain.jobs import InputImage, Request
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    ImageSource,
    Operation,
    ProviderError,
)
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport
from tests.support.providers.multipart_forms import form_of

KEY = "key-of-the-vendor"
BASE = "https://vendor.test/v1"
PNG = b"\x89PNG\r\n\x1a\n"
SYNC: dict[str, Any] = {
    "submit": {"path": "/images", "fields": {"prompt": "prompt"}},
    "result": {"urls": "data.*.url"},
}
POLLED: dict[str, Any] = {
    "submit": {"path": "/images", "fields": {"prompt": "prompt"}},
    "operation": {"id": "id"},
    "poll": {"path": "/images/{id}"},
    "status": {"path": "state", "pending": ["busy"], "done": ["done"], "failed": ["failed"]},
    "result": {"urls": "urls"},
    "cancel": {"method": "DELETE", "path": "/images/{id}", "confirmed": [204]},
}


def entry(settings: dict[str, Any], **told: Any) -> GenericEntry:
    """An entry, as the provider file says it."""
    one = {"name": "vendor", "kind": "generic", "base_url": BASE, "models": [{"name": "m"}], "settings": settings}
    one |= {"allowed_options": "any"}
    [read] = ProviderFile.model_validate({"providers": [one | told]}).providers
    assert isinstance(read, GenericEntry)
    return read


def order(inputs: tuple[bytes, ...] = (), *, mask: bool = False, **request: Any) -> ProviderRequest:
    """A call."""
    indexes = [*range(len(inputs) - mask), *([-1] if mask else [])]
    places = tuple(InputImage(index=index, url=None, content_type="image/png") for index in indexes)
    wanted = Request(**({"prompt": "a harbour", "inputs": places} | request))
    return ProviderRequest(
        call_id="call_1",
        idempotency_key="call_1",
        model="m",
        count=1,
        request=wanted,
        seed=wanted.seed,
        inputs=inputs,
    )


class Vendor:
    """Answers in turn, and keeps what came."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The next answer."""
        self.asked.append(request)
        return self._answers.pop(0)


async def submitted(settings: dict[str, Any], wanted: ProviderRequest, *answers: httpx.Response, **told: Any) -> Any:
    """What a submission comes to, and the request."""
    vendor = Vendor(*(answers or (httpx.Response(200, json={"data": [{"url": "https://a.test/0"}]}),)))
    provider = GenericProvider(entry(settings, **told), api_key=KEY, transport=HandlerTransport(vendor))
    try:
        return await provider.submit(wanted), vendor.asked[0]
    finally:
        await provider.close()


async def body(settings: dict[str, Any], wanted: ProviderRequest) -> Any:
    """The JSON that is sent."""
    _, asked = await submitted(settings, wanted)
    return json.loads(asked.content)


def with_submit(**told: Any) -> dict[str, Any]:
    """The synchronous settings, with more of `submit`."""
    return SYNC | {"submit": SYNC["submit"] | told}


async def test_fields_go_to_their_places_and_constants_are_kept_from_options() -> None:
    settings = with_submit(
        body={"public": False, "input": {"steps": 4}},
        fields={"prompt": "input.text", "size": "input.size", "model": "engine", "seed": "input.seed", "uuid": "id"},
        options="input",
        size_separator="*",
        max_seed=99,
    )
    options = {"steps": 50, "style": "dry"}

    told = await body(settings, order(size="64x128", seed=205, options=options))

    assert told == {
        "public": False,
        "engine": "m",
        "id": told["id"],
        "input": {"steps": 4, "style": "dry", "text": "a harbour", "size": "64*128", "seed": 5},
    }
    assert told["id"] == (await body(settings, order()))["id"]


async def test_a_body_may_be_a_list() -> None:
    settings = with_submit(body=[{"type": "image"}], fields={"prompt": "0.text"}, options="0")

    assert await body(settings, order(options={"steps": 3})) == [{"type": "image", "steps": 3, "text": "a harbour"}]


async def test_images_are_a_list_of_texts_or_of_objects_and_one_alone() -> None:
    objects = with_submit(fields={"prompt": "p", "images": "refs.*.image.url", "mask": "mask"}, images_as="base64")
    texts = with_submit(fields={"prompt": "p", "images": "refs"})
    alone = with_submit(fields={"prompt": "p", "image": "ref"})

    assert await body(objects | {"max_input_images": 2}, order((PNG, PNG, PNG), mask=True)) == {
        "p": "a harbour",
        "refs": [{"image": {"url": "iVBORw0KGgo="}}, {"image": {"url": "iVBORw0KGgo="}}],
        "mask": "iVBORw0KGgo=",
    }
    assert (await body(texts | {"max_input_images": 2}, order((PNG,))))["refs"] == [
        "data:image/png;base64,iVBORw0KGgo="
    ]
    assert (await body(alone | {"max_input_images": 1}, order((PNG,))))["ref"] == "data:image/png;base64,iVBORw0KGgo="


async def test_a_form_has_parts_in_the_vendors_spelling_and_its_images_as_files() -> None:
    settings = with_submit(
        encoding="form",
        body={"magic": False},
        fields={"prompt": "prompt", "seed": "seed", "aspect_ratio": "ratio", "image": "image"},
        values={"aspect_ratio": {"16:9": "16x9"}},
    ) | {"aspect_ratios": ["16:9"], "max_input_images": 1, "auth": {"header": "Api-Key", "scheme": ""}}
    _, asked = await submitted(settings, order((PNG,), seed=7, aspect_ratio="16:9", options={"tags": ["a", "b"]}))

    assert asked.headers["Api-Key"] == KEY
    assert form_of(asked.headers["Content-Type"], asked.content) == [
        {"name": "magic", "value": "false"},
        {"name": "tags[]", "value": "a"},
        {"name": "tags[]", "value": "b"},
        {"name": "prompt", "value": "a harbour"},
        {"name": "seed", "value": "7"},
        {"name": "ratio", "value": "16x9"},
        {"name": "image", "file": "0.png", "type": "image/png", "content": PNG.hex()},
    ]


async def test_an_answer_at_once_has_its_images_and_their_seeds() -> None:
    settings = SYNC | {"result": {"base64": "images.*.data", "seed": "images.*.seed"}}
    told = {"images": [{"data": "MA==", "seed": "7"}, {"data": "MQ==", "seed": -1}]}
    made, _ = await submitted(settings, order(), httpx.Response(200, json=told))

    assert made.images == (ImageSource(base64="MA==", seed=7), ImageSource(base64="MQ=="))


async def test_what_is_beside_an_image_loses_none_and_addresses_may_be_relative() -> None:
    told = {"data": [{"url": "/files/0.png"}, None, {"url": None}, {"url": "data:image/png;base64,MA=="}]}
    made, _ = await submitted(SYNC, order(), httpx.Response(200, json=told))

    assert made.images == (
        ImageSource(url="https://vendor.test/files/0.png"),
        ImageSource(base64="data:image/png;base64,MA=="),
    )


@pytest.mark.parametrize("status", [400, 403, 404, 409, 418, 422, 500, 503])
async def test_what_nobody_named_as_not_accepted_may_have_been(status: int) -> None:
    with pytest.raises(ProviderError) as error:
        await submitted(SYNC, order(), httpx.Response(status, json={"error": "no"}))

    assert error.value.acceptance is Acceptance.UNKNOWN


@pytest.mark.parametrize("status", [401, 402, 405, 429])
async def test_what_is_not_applied_by_definition_was_not(status: int) -> None:
    with pytest.raises(ProviderError) as error:
        await submitted(SYNC, order(), httpx.Response(status, json={"error": "no"}))

    assert error.value.acceptance is Acceptance.NOT_ACCEPTED


@pytest.mark.parametrize(
    ("status", "code", "reason", "acceptance"),
    [
        (400, "no_money", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED),
        (200, "no_money", "QUOTA_EXHAUSTED", Acceptance.NOT_ACCEPTED),
        (500, 1200, "CONTENT_POLICY", Acceptance.ACCEPTED),
        (500, "busy", "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN),
        (403, "busy", "PROVIDER_UNAVAILABLE", Acceptance.UNKNOWN),
    ],
)
async def test_codes_mean_what_the_settings_say(status: int, code: Any, reason: str, acceptance: Acceptance) -> None:
    means = {"no_money": "quota", 1200: "refused", "busy": "unavailable"}
    settings = SYNC | {"errors": {"code": ["fault.code"], "means": means, "not_accepted": ["no_money"]}}
    with pytest.raises(ProviderError) as error:
        await submitted(settings, order(), httpx.Response(status, json={"fault": {"code": code}}))

    assert (error.value.reason, error.value.acceptance) == (reason, acceptance)
    assert error.value.vendor.code == str(code)


@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.test/images/1",
        "http://vendor.test/images/1",
        "https://vendor.test:444/images/1",
        "https://user:word@vendor.test/images/1",
        "//elsewhere.test/images/1",
        "",
    ],
)
async def test_no_answer_chooses_the_host_that_gets_the_key(address: str) -> None:
    settings = {name: told for name, told in POLLED.items() if name != "poll"}
    settings |= {"operation": {"id": "id", "address": "url"}}
    with pytest.raises(ProviderError) as error:
        await submitted(settings, order(), httpx.Response(200, json={"id": "o1", "url": address}))

    assert (error.value.reason, error.value.acceptance) == ("UNCLASSIFIED", Acceptance.UNKNOWN)
    assert error.value.vendor.request_id == "o1"


async def test_an_address_that_is_only_a_path_is_one_of_the_vendors_own() -> None:
    settings = {name: told for name, told in POLLED.items() if name != "poll"}
    settings |= {"operation": {"id": "id", "address": "url"}}
    operation, _ = await submitted(settings, order(), httpx.Response(200, json={"id": 17, "url": "/v2/o/17"}))

    assert (operation.id, operation.state["url"]) == ("17", "https://vendor.test/v2/o/17")


@pytest.mark.parametrize("named", ["../admin", "a/b", "..", "a?b=c", "a#b", "%2e%2e"])
async def test_an_id_is_one_part_of_the_path_whatever_it_says(named: str) -> None:
    vendor = Vendor(httpx.Response(200, json={"state": "busy"}))
    provider = GenericProvider(entry(POLLED), api_key=KEY, transport=HandlerTransport(vendor))
    await provider.poll(Operation(id=named))
    await provider.close()

    path = vendor.asked[0].url.raw_path.decode()
    assert path.startswith("/v1/images/")
    assert path.removeprefix("/v1/images/").isascii()
    assert not {"/", "?", "#"} & set(path.removeprefix("/v1/images/"))
    assert path.removeprefix("/v1/images/").strip(".")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(204, CancelOutcome.CONFIRMED), (200, CancelOutcome.TOO_LATE), (409, CancelOutcome.TOO_LATE)],
)
async def test_a_cancel_is_confirmed_by_the_statuses_that_say_so_alone(status: int, outcome: CancelOutcome) -> None:
    vendor = Vendor(httpx.Response(status))
    provider = GenericProvider(entry(POLLED), api_key=KEY, transport=HandlerTransport(vendor))

    assert await provider.cancel(Operation(id="o1")) is outcome
    assert (vendor.asked[0].method, vendor.asked[0].url.path) == ("DELETE", "/v1/images/o1")
    assert provider.describe(is_default=False).capabilities.cancelable
    await provider.close()


async def test_a_wish_to_cancel_that_is_not_answered_is_repeated() -> None:
    provider = GenericProvider(entry(POLLED), api_key=KEY, transport=HandlerTransport(Vendor(httpx.Response(503))))
    with pytest.raises(ProviderError) as error:
        await provider.cancel(Operation(id="o1"))
    await provider.close()

    assert error.value.retryable


@pytest.mark.parametrize(
    ("words", "reason", "retryable"),
    [
        ("CUDA out of memory in safety checker", "PROVIDER_UNAVAILABLE", True),
        ("The prompt violates our content policy", "CONTENT_POLICY", False),
        ("width must be even", "PROVIDER_REJECTED", False),
    ],
)
async def test_a_failed_operation_is_read_by_its_words(words: str, reason: str, retryable: bool) -> None:
    answer = httpx.Response(200, json={"state": "failed", "error": {"message": words}})
    provider = GenericProvider(entry(POLLED), api_key=KEY, transport=HandlerTransport(Vendor(answer)))
    with pytest.raises(ProviderError) as error:
        await provider.poll(Operation(id="o1"))
    await provider.close()

    assert (error.value.reason, error.value.retryable) == (reason, retryable)
    assert (error.value.acceptance, error.value.vendor.message) == (Acceptance.ACCEPTED, words)


@pytest.mark.parametrize(
    ("told", "reason", "retryable"),
    [
        ({"state": "blocked"}, "CONTENT_POLICY", False),
        ({"state": "gone"}, "PROVIDER_CANCELED", True),
        ({"state": "failed", "error": {"message": "Not enough Tokens"}}, "QUOTA_EXHAUSTED", False),
        ({"state": "failed", "error": {"code": 7, "message": "not enough tokens"}}, "PROVIDER_RATE_LIMIT", True),
    ],
)
async def test_an_operation_ends_as_its_words_and_codes_say(told: dict[str, Any], reason: str, retryable: bool) -> None:
    status = POLLED["status"] | {"refused": ["blocked"], "canceled": ["gone"]}
    meanings = {"means": {7: "rate_limit"}, "phrases": {"not enough tokens": "quota"}}
    settings = POLLED | {"status": status, "errors": meanings}
    vendor = Vendor(httpx.Response(200, json=told))
    provider = GenericProvider(entry(settings), api_key=KEY, transport=HandlerTransport(vendor))
    with pytest.raises(ProviderError) as error:
        await provider.poll(Operation(id="o1"))
    await provider.close()

    assert (error.value.reason, error.value.retryable) == (reason, retryable)
    assert error.value.acceptance is Acceptance.ACCEPTED


@pytest.mark.parametrize("told", [{"state": "paused"}, {}, {"state": None}, {"state": True}, {"state": ["done"]}])
async def test_a_word_that_no_setting_names_says_nothing_of_the_bill(told: dict[str, Any]) -> None:
    vendor = Vendor(httpx.Response(200, json=told))
    provider = GenericProvider(entry(POLLED), api_key=KEY, transport=HandlerTransport(vendor))
    with pytest.raises(ProviderError) as error:
        await provider.poll(Operation(id="o1"))
    await provider.close()

    assert (error.value.reason, error.value.acceptance) == ("UNCLASSIFIED", Acceptance.UNKNOWN)
    assert error.value.vendor.message


async def test_a_request_that_is_not_done_and_cannot_be_polled_is_kept_as_evidence() -> None:
    settings = SYNC | {"status": {"path": "state", "pending": ["busy"], "done": ["done"]}}
    with pytest.raises(ProviderError) as error:
        await submitted(settings, order(), httpx.Response(200, json={"state": "busy"}))

    assert (error.value.reason, error.value.vendor.message) == ("UNCLASSIFIED", '{"state":"busy"}')


async def test_without_operations_nothing_can_be_followed_or_stopped() -> None:
    provider = GenericProvider(entry(SYNC), api_key=KEY, transport=HandlerTransport(Vendor()))
    offers = provider.describe(is_default=False).capabilities

    assert not provider.traits.resumable
    assert (offers.resumable, offers.cancelable, offers.seed) == (False, False, False)
    assert await provider.cancel(Operation(id="none")) is CancelOutcome.UNSUPPORTED
    await provider.close()


async def test_a_model_in_the_path_leads_nowhere_else() -> None:
    with pytest.raises(ProviderError) as error:
        await submitted(with_submit(path="/{model}"), replace(order(), model="../admin"))

    assert (error.value.reason, error.value.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)


async def test_the_key_is_in_no_text_that_repeats_it() -> None:
    with pytest.raises(ProviderError) as error:
        await submitted(SYNC, order(), httpx.Response(401, json={"error": f"bad key {KEY}"}))

    assert KEY not in f"{error.value!r} {error.value.vendor}"


async def test_a_picture_in_hand_is_generated_whatever_stands_beside_it() -> None:
    made, _ = await submitted(
        SYNC, order(), httpx.Response(202, json={"data": [{"url": "https://a.test/0"}], "error": 1})
    )

    assert isinstance(made, Generated)


BAD: list[tuple[dict[str, Any], str]] = [
    (SYNC | {"result": {}}, "result needs urls or base64"),
    (SYNC | {"result": {"urls": "a b"}}, "settings.result.urls"),
    (SYNC | {"result": {"urls": "a..b"}}, "settings.result.urls"),
    (SYNC | {"poll": {"path": "/images/{id}"}}, "poll and cancel need operation.id"),
    (POLLED | {"poll": None}, "operation.address or poll.path"),
    (POLLED | {"poll": {"path": "/images"}}, "poll.path must have {id}"),
    (POLLED | {"poll": {"path": "/images/{name}"}}, "{name} is not a placeholder"),
    (POLLED | {"poll": {"path": "images/{id}"}}, "settings.poll.path"),
    (POLLED | {"poll": {"path": "/../{id}"}}, "poll.path must not have .."),
    (POLLED | {"status": None}, "operation needs status"),
    (POLLED | {"status": {"path": "s", "done": ["ok"]}}, "status.pending must have at least one value"),
    (POLLED | {"status": {"path": "s", "done": ["ok"], "pending": ["ok"]}}, "status: ok must have only one meaning"),
    (POLLED | {"cancel": {"path": "/c/{id}", "confirmed": [404]}}, "settings.cancel.confirmed.0"),
    (SYNC | {"errors": {"means": {"x": "bad luck"}}}, "settings.errors.means.x"),
    (SYNC | {"headers": {"authorization": "x"}}, "headers must not have auth.header"),
    (SYNC | {"headers": {"X-A": "a\r\nX-B: b"}}, "settings.headers.X-A"),
    (SYNC | {"max_images_per_call": 4}, "max_images_per_call over 1 needs submit.fields.n"),
    (SYNC | {"aspect_ratios": ["1:1"]}, "aspect_ratios and submit.fields.aspect_ratio need each other"),
    (SYNC | {"max_input_images": 1}, "max_input_images and submit.fields.images need each other"),
    (SYNC | {"sizes": ["64x64"]}, "sizes need submit.fields.size"),
    (with_submit(path="https://elsewhere.test/"), "settings.submit.path"),
    (with_submit(path="//elsewhere.test/"), "submit.path must not have"),
    (with_submit(fields={"seed": "seed"}), "submit.fields must have prompt"),
    (with_submit(fields={"prompt": "p", "colour": "c"}), "settings.submit.fields.colour"),
    (with_submit(fields={"prompt": "p", "width": "w"}), "width and height, or neither"),
    (with_submit(fields={"prompt": "p", "seed": "p"}), "submit.fields.prompt: another field has the same path"),
    (with_submit(fields={"prompt": "p", "seed": "p.seed"}), "submit.fields.prompt: another field"),
    (with_submit(fields={"prompt": "p.*"}), "submit.fields.prompt: one * for images"),
    (with_submit(fields={"prompt": "p.text"}, body={"p": 1}), "submit.fields.prompt: p.text is not a place"),
    (
        with_submit(fields={"prompt": "1.text"}, body=[{}], options="0"),
        "submit.fields.prompt: 1 is not a place in the body",
    ),
    (with_submit(body={"a": 1}, options="a"), "submit.options: a is not an object"),
    (with_submit(fields={"prompt": "a.b"}, encoding="form"), "a form has no objects"),
    (with_submit(values={"seed": {"1": "one"}}), "submit.values.seed has no submit.fields.seed"),
    (with_submit(body={"a": "x" * 70_000}), "submit.body must be at most 64 KiB"),
    (with_submit(body={"a": float("nan")}), "submit.body must have only values of JSON"),
]


@pytest.mark.parametrize(("settings", "told"), BAD, ids=range(len(BAD)))
def test_settings_that_could_not_work_are_refused_by_the_key_that_is_wrong(settings: dict[str, Any], told: str) -> None:
    settings = {name: value for name, value in settings.items() if value is not None}
    with pytest.raises(ValueError) as error:
        entry(settings)

    assert told.removeprefix("settings.") in str(error.value)


def test_without_a_host_the_key_has_nowhere_to_go() -> None:
    with pytest.raises(ValueError, match="base_url is required"):
        entry(SYNC, base_url=None)
