"""The provider kind `comfyui`: what its entry refuses, and what its golden does not show."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.config import ConfigError
from services.generator.adapters.providers import provider_file
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.comfyui.provider import ComfyUIProvider
from services.generator.domain.jobs import InputImage, MaskForm, Request
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

WORKFLOW: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["6", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}, "_meta": {"title": "Prompt"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
}
SETTINGS: dict[str, Any] = {"workflow": WORKFLOW, "slots": {"prompt": "6.inputs.text"}}
ORDER = ProviderRequest(
    call_id="call_1", idempotency_key="call_1", model="m", count=1, request=Request(prompt="a harbour")
)
OPERATION = Operation(id="p1", state={"model": "m", "count": "1"})
EMPTY: dict[str, Any] = {"queue_running": [], "queue_pending": []}
QUEUED = EMPTY | {"queue_pending": [[1, "p1", {}]]}
#: What is altered in a good entry, and what is said of it.
BAD = [
    ({"slots": {}}, "slots must have prompt"),
    ({"slots": {"prompt": "7.inputs.text"}}, "slots.prompt: the workflow has no 7.inputs.text"),
    ({"slots": {"prompt": "6.inputs.words"}}, "slots.prompt: the workflow has no 6.inputs.words"),
    ({"slots": {"prompt": "6.text"}}, "slots.prompt: the workflow has no 6.text"),
    (
        {"slots": {"prompt": "3.inputs.positive"}},
        "slots.prompt: the workflow has no 3.inputs.positive, or another node",
    ),
    ({"slots": {"prompt": "6.inputs.text", "seed": "6.inputs.text"}}, "two slots are the same input"),
    ({"slots": {"prompt": "6.inputs.text", "width": "3.inputs.seed"}}, "width and height, or neither"),
    ({"slots": {"prompt": "6.inputs.text", "colour": "3.inputs.seed"}}, "colour"),
    ({"slots": {"prompt": "6.inputs.text", "images": "3.inputs.seed"}}, "slots.images must be a list of inputs"),
    ({"slots": {"prompt": ["6.inputs.text"]}}, "slots.prompt must be one input"),
    (
        {"slots": {"prompt": "6.inputs.text", "images": ["3.inputs.seed"], "image": "9.inputs.filename_prefix"}},
        "image or images, not both",
    ),
    ({"slots": {"prompt": "6.inputs.text", "mask": "3.inputs.seed"}}, "the slot mask needs the slot image or images"),
    (
        {"slots": {"prompt": "6.inputs.text", "images": ["3.inputs.seed", "3.inputs.seed"]}},
        "two slots are the same input",
    ),
    ({"models": {"m": {"4.inputs.ckpt_name": "a"}}}, "models.m: the workflow has no 4.inputs.ckpt_name"),
    ({"choices": {"lora": {"input": "3.inputs.lora", "values": {"a": "b"}}}}, "choices.lora: the workflow has no"),
    ({"choices": {"lora": {"input": "3.inputs.seed", "values": {}}}}, "choices.lora.values"),
    ({"choices": {"a": {"input": "6.inputs.text", "values": {"b": "c"}}}}, "6.inputs.text is set by slots"),
    ({"api_key_header": "X Key"}, "api_key_header"),
    ({"max_images_per_call": 2}, "max_images_per_call over 1 needs the slot n"),
    ({"workflow_file": "w.json"}, "workflow and workflow_file exclude each other"),
    ({"workflow": {"6": {"inputs": {"text": ""}}}}, "class_type"),
    ({"workflow": {}}, "workflow"),
]


def entry(settings: dict[str, Any] = SETTINGS, **fields: Any) -> ComfyUIEntry:
    """An entry of the provider file."""
    told = {
        "name": "studio",
        "kind": "comfyui",
        "models": [{"name": "m"}],
        "allowed_options": "any",
        "settings": settings,
    }
    return ComfyUIEntry.model_validate(told | fields)


def read(path: Path, settings: Mapping[str, Any]) -> ComfyUIEntry:
    """The same, from a file."""
    told = {
        "name": "studio",
        "kind": "comfyui",
        "models": [{"name": "m"}],
        "allowed_options": "any",
        "settings": settings,
    }
    path.write_text(json.dumps({"providers": [told]}), encoding="utf-8")
    [found] = provider_file.read(path, max_timeout_seconds=600).providers
    assert isinstance(found, ComfyUIEntry)
    return found


class Server:
    """Answers by path, in order, the last for good; keeps what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = {name: list(told) if isinstance(told, list) else [told] for name, told in answers.items()}

    def take(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        self.asked.append(request)
        told = self._answers.get(f"{request.method.lower()}_{request.url.path.split('/')[1]}", [{}])
        answer = told.pop(0) if len(told) > 1 else told[0]
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


async def asked_of(server: Server, work: Callable[[ComfyUIProvider], Any], *, api_key: str = "") -> Any:
    """What the adapter makes of a server."""
    provider = ComfyUIProvider(entry(), api_key=api_key, transport=HandlerTransport(server.take))
    try:
        return await work(provider)
    finally:
        await provider.close()


@pytest.mark.parametrize(("altered", "told"), BAD, ids=[told for _, told in BAD])
def test_an_entry_that_does_not_fit_its_workflow_is_refused_in_one_line(
    tmp_path: Path, altered: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path / "p.yaml", SETTINGS | altered)

    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"models": [{"name": "a"}, {"name": "b"}]}, "settings.models must have the inputs that the model 'a' sets"),
        ({"default_model": "other"}, "name each model in models"),
        ({"models": [], "default_model": "m"}, "name each model in models"),
    ],
)
def test_a_model_that_nobody_knows_is_a_mistake_of_the_file(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        entry(**fields)


def test_a_workflow_is_read_from_its_file_without_what_the_editor_keeps_there(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps(WORKFLOW), encoding="utf-8")

    found = read(tmp_path / "p.yaml", {"workflow_file": str(path), "slots": SETTINGS["slots"]})

    assert found.settings.workflow["6"].model_dump() == {"class_type": "CLIPTextEncode", "inputs": {"text": ""}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        (b"{", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "Export (API)"),
        (b"{}", "Export (API)"),
        (b'{"nodes": [], "links": []}', "Export (API)"),
        (b" " * (1024 * 1024 + 1), "Export (API)"),
    ],
    ids=["none", "cut", "not text", "deep", "list", "empty", "not for the API", "large"],
)
def test_a_workflow_file_that_is_none_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "w.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read(tmp_path / "p.yaml", {"workflow_file": str(path), "slots": SETTINGS["slots"]})

    assert str(path) in str(error.value)
    assert told in str(error.value)


def test_numbers_name_nodes_as_well() -> None:
    assert "6" in entry({"workflow": {6: WORKFLOW["6"]}, "slots": SETTINGS["slots"]}).settings.workflow


def test_a_key_is_needed_only_where_the_entry_names_one() -> None:
    assert entry().api_key({}) == ""
    assert entry(api_key_env="TOKEN").api_key({"TOKEN": "k"}) == "k"
    with pytest.raises(ConfigError, match="TOKEN is not set"):
        entry(api_key_env="TOKEN").api_key({})


async def test_without_a_key_no_credential_is_sent_and_no_evidence_is_marred() -> None:
    server = Server(post_prompt=httpx.Response(418, headers={"x-request-id": "r1"}, text="short and stout"))
    with pytest.raises(ProviderError) as error:
        await asked_of(server, lambda provider: provider.submit(ORDER))

    assert "authorization" not in server.asked[0].headers
    assert (error.value.vendor.message, error.value.vendor.request_id) == ("short and stout", "r1")


async def test_with_a_key_it_is_in_no_error() -> None:
    server = Server(post_prompt=httpx.Response(401, text="Bearer sk-123456789 is not known"))
    with pytest.raises(ProviderError) as error:
        await asked_of(server, lambda provider: provider.submit(ORDER), api_key="sk-123456789")

    assert server.asked[0].headers["authorization"] == "Bearer sk-123456789"
    assert error.value.vendor.message == "Bearer *** is not known"


async def test_what_has_no_slot_is_not_offered_and_not_sent() -> None:
    server = Server(post_prompt={"prompt_id": "p1"})
    operation = await asked_of(server, lambda provider: provider.submit(ORDER))
    offers = (await asked_of(server, _described)).capabilities

    sent = json.loads(server.asked[0].content)["prompt"]
    assert sent["6"]["inputs"] == {"text": "a harbour"}
    assert sent["3"]["inputs"] == WORKFLOW["3"]["inputs"]
    assert operation == replace(OPERATION, state={**OPERATION.state, "client_id": operation.state["client_id"]})
    assert (offers.max_side, offers.seed, offers.negative_prompt, offers.max_input_images) == (0, False, False, 0)
    assert list(offers.output_formats) == []


async def _described(provider: ComfyUIProvider) -> Any:
    return provider.describe(is_default=False)


async def test_what_the_file_does_not_price_costs_nothing_and_the_catalogue_says_so() -> None:
    ended = {"p1": {"outputs": {"9": {"images": [{"filename": "a.png", "type": "output"}]}}, "status": None}}
    server = Server(get_history=ended)
    made = await asked_of(server, lambda provider: provider.poll(OPERATION))
    [model] = (await asked_of(server, _described)).models

    assert isinstance(made, Generated)
    assert made.images[0].url == "http://127.0.0.1:8188/view?filename=a.png&subfolder=&type=output"
    assert (made.cost_micros, model.price_micros_per_image, model.HasField("price_micros_per_image")) == (0, 0, True)


async def test_what_was_taken_out_of_the_queue_was_stopped_and_not_lost() -> None:
    async def stop(provider: ComfyUIProvider) -> Any:
        outcomes = [await provider.cancel(OPERATION), await provider.cancel(OPERATION)]
        with pytest.raises(ProviderError) as error:
            await provider.poll(OPERATION)
        return outcomes, error.value.reason

    server = Server(get_queue=[QUEUED, EMPTY], post_queue=httpx.Response(200), post_api=httpx.Response(404))

    assert await asked_of(server, stop) == ([CancelOutcome.CONFIRMED] * 2, "PROVIDER_CANCELED")


@pytest.mark.parametrize("status", [404, 405])
async def test_nobody_elses_prompt_is_interrupted(status: int) -> None:
    server = Server(get_queue=EMPTY | {"queue_running": [[1, "other", {}]]}, post_api=httpx.Response(status))

    assert await asked_of(server, lambda provider: provider.cancel(OPERATION)) is CancelOutcome.TOO_LATE
    assert [request.url.path for request in server.asked] == ["/api/jobs/p1/cancel", "/queue"]


@pytest.mark.parametrize("words", ["still in it", "refused"])
async def test_a_stop_that_nobody_confirmed_is_asked_for_again(words: str) -> None:
    answer = httpx.Response(200 if words == "still in it" else 500)
    server = Server(get_queue=QUEUED, post_queue=answer, post_api=httpx.Response(404))
    with pytest.raises(ProviderError) as error:
        await asked_of(server, lambda provider: provider.cancel(OPERATION))

    assert (error.value.retryable, error.value.acceptance) == (True, Acceptance.UNKNOWN)


@pytest.mark.parametrize(
    "answers",
    [
        {"get_history": httpx.Response(503)},
        {"get_history": httpx.Response(200, text="<html>")},
        {"get_history": {"p1": "done"}},
        {"get_queue": {}},
        {"get_queue": {"queue_running": [], "queue_pending": None}},
        {"get_queue": httpx.Response(429)},
    ],
)
async def test_a_look_that_tells_nothing_does_not_end_a_call(answers: Mapping[str, Any]) -> None:
    with pytest.raises(ProviderError) as error:
        await asked_of(Server(**answers), lambda provider: provider.poll(OPERATION))

    assert (error.value.retryable, error.value.acceptance) == (True, Acceptance.UNKNOWN)


async def test_a_look_that_is_refused_leaves_the_call_open() -> None:
    with pytest.raises(ProviderError) as error:
        await asked_of(Server(get_history=httpx.Response(401)), lambda provider: provider.poll(OPERATION))

    assert (error.value.code, error.value.retryable, error.value.acceptance) == (
        "AUTH_ERROR",
        False,
        Acceptance.UNKNOWN,
    )


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"status_str": "error"}, ("PERMANENT", "PROVIDER_REJECTED")),
        ({"status_str": "error", "messages": [["execution_error", 7], "x", [1]]}, ("PERMANENT", "PROVIDER_REJECTED")),
        ({"status_str": "half"}, ("UNKNOWN", "UNCLASSIFIED")),
    ],
)
async def test_an_end_in_strange_words_is_a_bad_one(status: Mapping[str, Any], told: tuple[str, str]) -> None:
    server = Server(get_history={"p1": {"outputs": {}, "status": status}})
    with pytest.raises(ProviderError) as error:
        await asked_of(server, lambda provider: provider.poll(OPERATION))

    assert ((error.value.code, error.value.reason), error.value.acceptance) == (told, Acceptance.ACCEPTED)


async def test_a_queue_with_strange_entries_is_read_all_the_same() -> None:
    server = Server(get_queue={"queue_running": [[], "p1", None], "queue_pending": [[1, "p1"]]})

    assert await asked_of(server, lambda provider: provider.poll(OPERATION)) == Pending()


EDITING: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "plain.safetensors"}},
    "5": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "lora_name": "none", "strength_model": 0.0}},
    "10": {"class_type": "LoadImage", "inputs": {"image": "first.png"}},
    "11": {"class_type": "LoadImage", "inputs": {"image": "second.png"}},
    "12": {"class_type": "LoadImageMask", "inputs": {"image": "mask.png", "channel": "alpha"}},
}
CHOOSING: dict[str, Any] = {
    "workflow": WORKFLOW | EDITING,
    "slots": {
        "prompt": "6.inputs.text",
        "images": ["10.inputs.image", "11.inputs.image"],
        "mask": "12.inputs.image",
    },
    "models": {
        "photo": {"4.inputs.ckpt_name": "photo.safetensors"},
        "ink": {"4.inputs.ckpt_name": "ink.safetensors", "5.inputs.strength_model": 0.5},
    },
    "choices": {"lora": {"input": "5.inputs.lora_name", "values": {"ink": "ink_v2.safetensors", "off": "none"}}},
}
MODELS = [{"name": "photo"}, {"name": "ink"}]


async def queued(order: ProviderRequest, server: Server | None = None) -> dict[str, Any]:
    """The workflow that an order becomes."""
    server = server or Server(post_prompt={"prompt_id": "p1"}, post_upload=[{"name": f"{n}.png"} for n in range(3)])
    provider = ComfyUIProvider(entry(CHOOSING, models=MODELS), api_key="", transport=HandlerTransport(server.take))
    try:
        await provider.submit(order)
    finally:
        await provider.close()
    prompt: dict[str, Any] = json.loads(server.asked[-1].content)["prompt"]
    return {name: node["inputs"] for name, node in prompt.items()}


async def test_each_picture_and_the_mask_go_where_the_file_says() -> None:
    places = tuple(InputImage(index=index, url=None, content_type="image/png") for index in (0, 1, -1))
    request = replace(ORDER.request, inputs=places)
    server = Server(post_prompt={"prompt_id": "p1"}, post_upload=[{"name": f"{n}.png"} for n in range(3)])
    found = await queued(replace(ORDER, model="photo", request=request, inputs=(b"a", b"b", b"a mask")), server)

    assert [found[node]["image"] for node in ("10", "11", "12")] == ["0.png", "1.png", "2.png"]
    assert b"a mask" in server.asked[2].content


async def test_a_picture_that_a_job_leaves_out_stays_as_the_workflow_has_it() -> None:
    request = replace(ORDER.request, inputs=(InputImage(index=0, url=None, content_type="image/png"),))
    found = await queued(replace(ORDER, model="photo", request=request, inputs=(b"a",)))

    assert (found["10"]["image"], found["11"]["image"]) == ("0.png", "second.png")


@pytest.mark.parametrize(
    ("model", "lora", "put"),
    [
        ("photo", "off", ("photo.safetensors", "none", 0.0)),
        ("ink", "ink", ("ink.safetensors", "ink_v2.safetensors", 0.5)),
    ],
)
async def test_a_job_chooses_among_the_models_and_values_that_the_file_lists(
    model: str, lora: str, put: tuple[str, str, float]
) -> None:
    found = await queued(replace(ORDER, model=model, request=replace(ORDER.request, options={"lora": lora})))

    assert (found["4"]["ckpt_name"], found["5"]["lora_name"], found["5"]["strength_model"]) == put


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        ("photo", {"lora": "../../secret"}, "must be one of ink, off"),
        ("photo", {"lora": ["ink"]}, "must be one of ink, off"),
        ("photo", {"5.inputs.lora_name": "other.safetensors"}, "the provider file sets it"),
        ("photo", {"4.inputs.ckpt_name": "other.safetensors"}, "the provider file sets it"),
        ("other", {}, "has no model 'other'"),
    ],
)
async def test_what_the_file_does_not_list_cannot_be_chosen(model: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ProviderError, match=words) as error:
        await queued(replace(ORDER, model=model, request=replace(ORDER.request, options=given)))

    assert error.value.acceptance is Acceptance.NOT_ACCEPTED


async def test_what_the_workflow_takes_of_pictures_is_offered() -> None:
    provider = ComfyUIProvider(entry(CHOOSING, models=MODELS), api_key="")
    offers = provider.describe(is_default=False).capabilities
    await provider.close()

    assert (offers.max_input_images, offers.mask, provider.mask_form("photo")) == (2, True, MaskForm.TWO_WAY)


async def test_a_key_goes_into_the_header_that_the_file_names() -> None:
    server = Server(post_prompt={"prompt_id": "p1"})
    named = entry(SETTINGS | {"api_key_header": "X-API-Key"})
    provider = ComfyUIProvider(named, api_key="a-secret-key", transport=HandlerTransport(server.take))
    await provider.submit(ORDER)
    await provider.close()
    [asked] = server.asked

    assert (asked.headers["x-api-key"], "authorization" in asked.headers) == ("a-secret-key", False)


ENDED = {
    "p1": {
        "outputs": {"9": {"images": [{"filename": "a.png", "type": "output"}]}},
        "status": {"status_str": "success", "completed": True},
    }
}


async def test_a_picture_that_asks_for_the_key_is_read_with_it() -> None:
    server = Server(get_history=ENDED, get_view=httpx.Response(200, content=b"a picture"))
    made = await asked_of(server, lambda provider: provider.poll(OPERATION), api_key="a-secret-key")

    assert [image.data for image in made.images] == [b"a picture"]
    assert [request.headers["authorization"] for request in server.asked] == ["Bearer a-secret-key"] * 2


@pytest.mark.parametrize(
    ("answer", "url"),
    [
        (
            httpx.Response(302, headers={"location": "https://cdn.example/a.png?sig=1"}),
            "https://cdn.example/a.png?sig=1",
        ),
        (httpx.Response(404), "http://127.0.0.1:8188/view?filename=a.png&subfolder=&type=output"),
    ],
    ids=["elsewhere", "not there"],
)
async def test_a_picture_elsewhere_is_left_to_who_has_no_key(answer: httpx.Response, url: str) -> None:
    server = Server(get_history=ENDED, get_view=answer)
    made = await asked_of(server, lambda provider: provider.poll(OPERATION), api_key="a-secret-key")

    assert [image.url for image in made.images] == [url]
    assert {request.url.host for request in server.asked} == {"127.0.0.1"}


async def test_without_a_key_a_picture_is_left_to_who_reads_the_others() -> None:
    server = Server(get_history=ENDED)
    made = await asked_of(server, lambda provider: provider.poll(OPERATION))

    assert [bool(image.url) for image in made.images] == [True]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("base", "path"), [("http://s", "/api/jobs/p1/cancel"), ("http://s/api", "/api/jobs/p1/cancel")]
)
async def test_a_prompt_is_canceled_by_its_id_wherever_the_api_begins(base: str, path: str) -> None:
    server = Server(post_api={"cancelled": True})
    provider = ComfyUIProvider(entry(base_url=base), api_key="", transport=HandlerTransport(server.take))
    outcome = await provider.cancel(OPERATION)
    await provider.close()

    assert outcome is CancelOutcome.CONFIRMED
    assert [request.url.path for request in server.asked] == [path]


async def test_what_was_canceled_by_its_id_was_stopped_and_not_lost() -> None:
    server = Server(post_api={"cancelled": True}, get_history={}, get_queue=EMPTY)

    async def stop(provider: ComfyUIProvider) -> Any:
        await provider.cancel(OPERATION)
        with pytest.raises(ProviderError) as error:
            await provider.poll(OPERATION)
        return error.value.reason

    assert await asked_of(server, stop) == "PROVIDER_CANCELED"


@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.Response(200, text="ok"), httpx.Response(429)])
async def test_a_wish_to_cancel_that_is_not_answered_is_repeated(answer: httpx.Response) -> None:
    server = Server(post_api=answer)
    with pytest.raises(ProviderError) as error:
        await asked_of(server, lambda provider: provider.cancel(OPERATION))

    assert error.value.retryable
