"""Edits at `fal` and `replicate`: pictures go into the input that the file names, inside the request or uploaded."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.generator.adapters.providers.fal import provider as fal
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.adapters.providers.replicate import provider as replicate
from services.generator.domain.jobs import InputImage, MaskForm, Request
from services.generator.domain.provider_results import Acceptance, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.http_transport import HandlerTransport

KEY = "the-secret-key"
PNG, JPEG, MASK = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\nmask"
LARGE = b"\x89PNG" + bytes(2 * 1024 * 1024)
MODELS = {"fal": "fal-ai/nano-banana/edit", "replicate": "google/nano-banana"}
LISTS = {"inputs": {"prompt": "prompt", "images": "image_urls"}, "max_input_images": 4}
ONE = {"inputs": {"prompt": "prompt", "image": "image_url", "mask": "mask_url"}, "max_input_images": 1}


class Vendor:
    """Takes requests and uploads, and keeps what was asked."""

    def __init__(self, kind: str, settings: dict[str, Any], upload: httpx.Response | None = None, **entry: Any) -> None:
        told = {"name": "paid", "kind": kind, "models": [{"name": MODELS[kind]}], "settings": settings} | entry
        [read] = ProviderFile.model_validate({"providers": [told]}).providers
        make: Callable[..., RemoteProvider] = {"fal": fal.FalProvider, "replicate": replicate.ReplicateProvider}[kind]
        self.provider = make(read, api_key=KEY, transport=HandlerTransport(self._take))
        self.asked: list[httpx.Request] = []
        self._upload = upload
        self._kind = kind

    async def buys(self, *pictures: bytes, mask: bytes | None = None) -> dict[str, Any]:
        """The input that a call with these pictures is sent with."""
        brought = [*pictures, *([mask] if mask else [])]
        places = [*range(len(pictures)), *([-1] if mask else [])]
        inputs = tuple(InputImage(index=place, url=None, content_type="image/png") for place in places)
        wanted = Request(prompt="a harbour", inputs=inputs)
        model = MODELS[self._kind]
        try:
            await self.provider.submit(
                ProviderRequest(
                    call_id="c", idempotency_key="c", model=model, count=1, request=wanted, inputs=tuple(brought)
                )
            )
        finally:
            await self.provider.close()
        body = json.loads(self.asked[-1].content)
        sent: dict[str, Any] = body["input"] if self._kind == "replicate" else body
        return sent

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self._upload is not None and ("/files" in request.url.path or "/storage/" in request.url.path):
            return self._upload
        if request.method == "PUT":
            return httpx.Response(200)
        own = f"{request.url.scheme}://{request.url.netloc.decode()}"
        names = ("status_url", "response_url", "cancel_url")
        return httpx.Response(200, json={"id": "p1", "request_id": "r1"} | dict.fromkeys(names, f"{own}/r1"))


def uri(data: bytes, kind: str = "png") -> str:
    """The picture inside an address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("kind", MODELS)
async def test_pictures_go_as_a_list_in_their_order(kind: str) -> None:
    sent = await Vendor(kind, LISTS).buys(PNG, JPEG)

    assert sent == {"prompt": "a harbour", "image_urls": [uri(PNG), uri(JPEG, "jpeg")]}


@pytest.mark.parametrize("kind", MODELS)
async def test_one_picture_and_its_mask_have_an_input_each(kind: str) -> None:
    sent = await Vendor(kind, ONE).buys(PNG, mask=MASK)

    assert sent == {"prompt": "a harbour", "image_url": uri(PNG), "mask_url": uri(MASK)}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("field", "form"), [("mask", MaskForm.WHITE), ("black_mask", MaskForm.BLACK)])
async def test_the_file_says_which_mask_a_model_reads(kind: str, field: str, form: MaskForm) -> None:
    inputs = {"inputs": {"prompt": "prompt", "image": "image_url", field: "mask_url"}, "max_input_images": 1}
    vendor = Vendor(kind, inputs)
    read = vendor.provider.mask_form(MODELS[kind])

    assert ((await vendor.buys(PNG, mask=MASK))["mask_url"], read) == (uri(MASK), form)


@pytest.mark.parametrize("kind", MODELS)
async def test_a_job_without_pictures_sends_none(kind: str) -> None:
    assert await Vendor(kind, LISTS).buys() == {"prompt": "a harbour"}


async def test_a_large_picture_is_uploaded_to_replicate_before_anything_is_bought() -> None:
    there = "https://api.replicate.com/v1/files/f1"
    vendor = Vendor("replicate", LISTS, httpx.Response(201, json={"id": "f1", "urls": {"get": there}}))
    sent = await vendor.buys(PNG, LARGE)
    upload, purchase = vendor.asked

    assert sent["image_urls"] == [uri(PNG), there]
    assert (upload.method, str(upload.url)) == ("POST", "https://api.replicate.com/v1/files")
    assert upload.headers["Authorization"] == f"Bearer {KEY}"
    assert b'name="content"; filename="image.png"' in upload.content
    assert LARGE in upload.content
    assert purchase.url.path == f"/v1/models/{MODELS['replicate']}/predictions"


async def test_a_large_picture_is_put_into_fals_storage_without_the_key_going_elsewhere() -> None:
    told = {"upload_url": "https://bucket.example/put?sig=s", "file_url": "https://v3.fal.media/files/a/image.png"}
    vendor = Vendor("fal", LISTS, httpx.Response(200, json=told))
    sent = await vendor.buys(LARGE)
    begun, put, _ = vendor.asked

    assert sent["image_urls"] == [told["file_url"]]
    assert (begun.method, begun.url.host, begun.url.path) == ("POST", "rest.fal.ai", "/storage/upload/initiate")
    assert begun.url.params["storage_type"] == "fal-cdn-v3"
    assert json.loads(begun.content) == {"content_type": "image/png", "file_name": "image.png"}
    assert begun.headers["Authorization"] == f"Key {KEY}"
    assert json.loads(begun.headers["X-Fal-Object-Lifecycle"]) == {"expiration_duration_seconds": 86400}
    assert (put.method, str(put.url), put.content) == ("PUT", told["upload_url"], LARGE)
    assert put.headers["Content-Type"] == "image/png"
    assert KEY not in str(put.headers)


async def test_behind_another_address_the_storage_is_the_one_that_the_file_names_or_none() -> None:
    own = "http://127.0.0.1:9"
    inline = await Vendor("fal", LISTS, base_url=own).buys(LARGE)
    told = {"upload_url": f"{own}/put", "file_url": f"{own}/files/1"}
    vendor = Vendor("fal", LISTS | {"storage_url": f"{own}/"}, httpx.Response(200, json=told), base_url=own)
    stored = await vendor.buys(LARGE)

    assert inline["image_urls"] == [uri(LARGE)]
    assert stored["image_urls"] == [told["file_url"]]
    assert vendor.asked[0].url.path == "/storage/upload/initiate"


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("answer", "retryable"),
    [
        (httpx.Response(503), True),
        (httpx.Response(401), False),
        (httpx.Response(200, json={}), False),
        (httpx.Response(200, text="<html>"), False),
        (httpx.Response(200, json={"urls": {"get": ""}, "upload_url": "ftp://a", "file_url": "ftp://b"}), False),
        (httpx.Response(200, json={"upload_url": "http://a.test/", "file_url": "https://b.test/"}), False),
    ],
    ids=range(6),
)
async def test_an_upload_that_fails_bought_nothing(kind: str, answer: httpx.Response, retryable: bool) -> None:
    vendor = Vendor(kind, LISTS, answer)
    with pytest.raises(ProviderError) as failed:
        await vendor.buys(LARGE)

    assert (failed.value.acceptance, failed.value.retryable) == (Acceptance.NOT_ACCEPTED, retryable)
    assert len(vendor.asked) == 1


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("count", "mask"), [(2, None), (1, MASK)])
async def test_a_picture_that_would_be_left_out_is_refused_before_anything_is_sent(
    kind: str, count: int, mask: bytes | None
) -> None:
    vendor = Vendor(kind, {"inputs": {"prompt": "p", "image": "image"}, "max_input_images": 1})
    with pytest.raises(ProviderError) as refused:
        await vendor.buys(*[PNG] * count, mask=mask)

    assert (refused.value.reason, refused.value.acceptance) == ("UNSUPPORTED", Acceptance.NOT_ACCEPTED)
    assert vendor.asked == []


@pytest.mark.parametrize("kind", MODELS)
async def test_the_catalogue_says_how_many_pictures_a_model_takes(kind: str) -> None:
    for settings, most, mask in ((LISTS, 4, False), (ONE, 1, True), ({}, 0, False)):
        provider = Vendor(kind, settings).provider
        offers = provider.describe(is_default=False).capabilities
        await provider.close()

        assert (offers.max_input_images, offers.mask) == (most, mask)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_input_images": 2}, r"write inputs\.image .* or inputs\.images"),
        ({"inputs": {"prompt": "p", "images": "i"}}, "write max_input_images"),
        ({"inputs": {"prompt": "p", "image": "i"}, "max_input_images": 2}, r"max_input_images: 1, or inputs\.images"),
        ({"inputs": {"prompt": "p", "image": "i", "images": "j"}, "max_input_images": 1}, "image and images"),
        ({"inputs": {"prompt": "p", "mask": "m"}}, r"write inputs\.image or inputs\.images"),
        ({"inputs": {"image": "i", "mask": "m", "black_mask": "b"}, "max_input_images": 1}, "edits the white area"),
    ],
)
def test_a_file_that_says_too_little_of_pictures_is_refused(kind: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Vendor(kind, settings)
