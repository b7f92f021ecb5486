"""The kind `bedrock`: signatures, keys that end, and the bodies of each family of models."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from botocore.credentials import Credentials

from common.config import ConfigError
from services.generator.adapters.providers.bedrock import aws_signing
from services.generator.adapters.providers.bedrock.entry import BedrockEntry
from services.generator.adapters.providers.bedrock.provider import BedrockProvider
from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.domain import untrusted_text
from services.generator.domain.jobs import InputImage, Request
from services.generator.domain.provider_results import Acceptance, Generated, ImageSource, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.providers.aws_signature import signature_of
from tests.support.providers.http_transport import HandlerTransport

NOVA = "amazon.nova-canvas-v1:0"
CORE = "stability.stable-image-core-v1:1"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
PNG = b"\x89PNG\r\n\x1a\n"
#: From AWS's own test suite for signatures: method, path, query, further headers, body, signature.
PUBLISHED = {
    "get-vanilla": ("GET", "/", "", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-vanilla-query-order-key-case": (
        "GET",
        "/",
        "Param2=value2&Param1=value1",
        {},
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "post-vanilla": ("POST", "/", "", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "post-header-key-sort": (
        "POST",
        "/",
        "",
        {"my-header1": "value1"},
        b"",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-x-www-form-urlencoded": (
        "POST",
        "/",
        "",
        {"content-type": "application/x-www-form-urlencoded"},
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}


def entry(model: str = NOVA, **told: Any) -> BedrockEntry:
    """An entry, as the provider file says it."""
    settings = {"region": "eu-west-1"} | told.pop("settings", {})
    one = {"name": "aws", "kind": "bedrock", "models": [{"name": model}], "settings": settings}
    [read] = ProviderFile.model_validate({"providers": [one | told]}).providers
    assert isinstance(read, BedrockEntry)
    return read


def order(
    model: str = NOVA, inputs: tuple[bytes, ...] = (), *, call_id: str = "call_1", **request: Any
) -> ProviderRequest:
    """A call."""
    places = tuple(InputImage(index=index, url=None, content_type="image/png") for index in range(len(inputs)))
    wanted = Request(**({"prompt": "a harbour", "inputs": places} | request))
    return ProviderRequest(
        call_id=call_id,
        idempotency_key=call_id,
        model=model,
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


def made(**told: Any) -> httpx.Response:
    """A good answer."""
    return httpx.Response(200, json={"images": ["MA=="]} | told)


def denied(code: str = "ExpiredTokenException") -> httpx.Response:
    """A credential that is good no more."""
    return httpx.Response(403, headers={"x-amzn-errortype": code}, json={"message": "expired"})


async def ask(told: BedrockEntry, wanted: ProviderRequest, *answers: httpx.Response, **more: Any) -> tuple[Any, Vendor]:
    """What a call comes to, and the vendor that was asked."""
    vendor = Vendor(*answers)
    provider = BedrockProvider(told, **({"api_key": "key-of-bedrock"} | more), transport=HandlerTransport(vendor))
    try:
        return await provider.submit(wanted), vendor
    finally:
        await provider.close()


def finding(*found: Credentials | None) -> Callable[[], Credentials | None]:
    """Finds credentials, other ones each time, the last for ever."""
    left = list(found)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def is_signed(request: httpx.Request, secret: str = SECRET) -> bool:
    """Whether a request's signature is that of its own words."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    own = signature_of(
        method=request.method,
        path=request.url.raw_path.decode().partition("?")[0],
        query=request.url.query.decode(),
        headers=headers,
        body=request.content,
        secret=secret,
        service="bedrock",
    )
    return headers["authorization"].endswith(f"Signature={own}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_checks_signatures_agrees_with_the_published_ones(name: str) -> None:
    method, path, query, more, body, published = PUBLISHED[name]
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z", **more}
    headers["authorization"] = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={';'.join(sorted(headers))}, Signature={published}"
    )

    own = signature_of(
        method=method, path=path, query=query, headers=headers, body=body, secret=SECRET, service="service"
    )

    assert own == published


@pytest.mark.parametrize(
    "model",
    [
        NOVA,
        f"us.{NOVA}",
        "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
    ],
)
async def test_a_request_is_signed_as_it_is_sent(model: str) -> None:
    told = entry(model, settings={"auth": "iam", "family": "nova"})
    credentials = Credentials("AKIDEXAMPLE", SECRET, "token-of-the-session")
    _, vendor = await ask(told, order(model), made(), api_key="", find_credentials=finding(credentials))
    [asked] = vendor.asked

    assert asked.url.host == "bedrock-runtime.eu-west-1.amazonaws.com"
    path = asked.url.raw_path.decode()
    assert path.count("/") == 3
    assert unquote(path) == f"/model/{model}/invoke"
    assert "/eu-west-1/bedrock/aws4_request" in asked.headers["Authorization"]
    assert asked.headers["X-Amz-Security-Token"] == "token-of-the-session"
    assert is_signed(asked)
    assert not is_signed(asked, secret="another")
    asked.read()
    assert not is_signed(httpx.Request("POST", asked.url, headers=asked.headers, content=asked.content + b" "))


async def test_credentials_that_ended_are_found_anew_and_the_request_is_signed_again() -> None:
    old, new = Credentials("AKOLD", SECRET, "old-token-of-it"), Credentials("AKNEW", SECRET, "new-token-of-it")
    told = entry(settings={"auth": "iam"})
    _, vendor = await ask(told, order(), denied(), made(), api_key="", find_credentials=finding(old, new))

    assert ["AKOLD" in vendor.asked[0].headers["Authorization"], "AKNEW" in vendor.asked[1].headers["Authorization"]]
    assert [is_signed(one) for one in vendor.asked] == [True, True]
    assert untrusted_text.clean("old-token-of-it new-token-of-it", 100) == "*** ***"


@pytest.mark.parametrize("code", ["ExpiredTokenException", "InvalidSignatureException", "UnrecognizedClientException"])
async def test_credentials_that_are_refused_and_are_still_the_same_are_not_used_again(code: str) -> None:
    vendor = Vendor(denied(code))
    told = entry(settings={"auth": "iam"})
    provider = BedrockProvider(
        told, api_key="", transport=HandlerTransport(vendor), find_credentials=finding(Credentials("AK", SECRET))
    )
    with pytest.raises(ProviderError) as error:
        await provider.submit(order())
    await provider.close()

    assert (error.value.reason, error.value.acceptance) == ("PROVIDER_AUTH", Acceptance.NOT_ACCEPTED)
    assert len(vendor.asked) == 1


async def test_without_credentials_nothing_is_sent() -> None:
    with pytest.raises(ProviderError) as error:
        await ask(entry(settings={"auth": "iam"}), order(), api_key="", find_credentials=finding(None))

    assert (error.value.code, error.value.acceptance) == ("AUTH_ERROR", Acceptance.NOT_ACCEPTED)


async def test_credentials_are_found_where_aws_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    _, vendor = await ask(entry(settings={"auth": "iam"}), order(), made(), api_key="")

    assert "AKIDENVIRONMENT" in vendor.asked[0].headers["Authorization"]
    assert is_signed(vendor.asked[0])


async def test_a_key_that_was_renewed_in_its_file_is_tried_before_the_call_fails(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("key-of-the-morning", encoding="utf-8")
    told = entry(api_key_file=str(file))

    class Renewing(Vendor):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            file.write_text("key-of-the-evening", encoding="utf-8")
            return super().__call__(request)

    vendor = Renewing(denied(), made())
    provider = BedrockProvider(told, api_key=told.api_key({}), transport=HandlerTransport(vendor))
    await provider.submit(order())
    await provider.close()

    sent = [one.headers["Authorization"] for one in vendor.asked]
    assert sent == ["Bearer key-of-the-morning", "Bearer key-of-the-evening"]


async def test_calls_without_a_seed_make_different_images_and_one_call_the_same_again() -> None:
    async def seed(call_id: str) -> Any:
        _, vendor = await ask(entry(), order(call_id=call_id), made())
        return json.loads(vendor.asked[0].content)["imageGenerationConfig"]["seed"]

    assert await seed("call_1") == await seed("call_1") != await seed("call_2")


@pytest.mark.parametrize(("seed", "sent"), [(0, 4294967294), (7, 7), (4294967294, 4294967294), (4294967295, 1)])
async def test_stabilitys_random_seed_is_never_asked_for(seed: int, sent: int) -> None:
    generated, vendor = await ask(entry(CORE), order(CORE, seed=seed), made(seeds=[sent], finish_reasons=[None]))

    assert json.loads(vendor.asked[0].content)["seed"] == sent
    assert generated == Generated(images=(ImageSource(base64="MA==", seed=sent),))


async def test_stabilitys_models_take_a_ratio_a_format_and_an_image() -> None:
    told = entry("stability.sd3-5-large-v1:0", settings={"max_input_images": 1})
    wanted = order(
        "stability.sd3-5-large-v1:0", seed=1, aspect_ratio="16:9", output_format="jpeg", negative_prompt="fog"
    )
    edited = order("stability.sd3-5-large-v1:0", (PNG,), seed=1, options={"strength": 0.3})
    _, first = await ask(told, wanted, made())
    _, second = await ask(told, edited, made())

    assert json.loads(first.asked[0].content) == {
        "prompt": "a harbour",
        "negative_prompt": "fog",
        "aspect_ratio": "16:9",
        "output_format": "jpeg",
        "seed": 1,
    }
    assert json.loads(second.asked[0].content) == {
        "prompt": "a harbour",
        "seed": 1,
        "mode": "image-to-image",
        "image": "iVBORw0KGgo=",
        "strength": 0.3,
    }


@pytest.mark.parametrize(
    ("told", "reason", "retryable"),
    [
        ({"images": [], "finish_reasons": ["Filter reason: prompt"]}, "CONTENT_POLICY", False),
        ({"images": [], "finish_reasons": ["Filter reason: output image"]}, "CONTENT_POLICY", False),
        ({"images": [], "finish_reasons": ["Inference error"]}, "PROVIDER_UNAVAILABLE", True),
        ({"images": [], "error": "conflicts with the AWS Responsible AI Policy"}, "CONTENT_POLICY", False),
        ({"images": []}, "UNCLASSIFIED", False),
    ],
)
async def test_a_success_without_an_image_was_carried_out(told: dict[str, Any], reason: str, retryable: bool) -> None:
    with pytest.raises(ProviderError) as error:
        await ask(entry(CORE), order(CORE), made(**told))

    assert (error.value.reason, error.value.retryable) == (reason, retryable)
    assert error.value.acceptance is Acceptance.ACCEPTED


@pytest.mark.parametrize("status", [200, 201, 202, 206])
async def test_a_success_that_names_an_error_is_no_refusal(status: int) -> None:
    told = {"__type": "ServiceQuotaExceededException", "message": "Too many."}
    with pytest.raises(ProviderError) as error:
        await ask(entry(), order(), httpx.Response(status, json=told))

    assert error.value.acceptance is not Acceptance.NOT_ACCEPTED


@pytest.mark.parametrize("model", ["../x", "amazon.titan-image-generator-v2:0", "anthropic.claude", "a b"])
async def test_a_job_names_no_model_of_another_family_and_no_other_path(model: str) -> None:
    with pytest.raises(ProviderError) as error:
        await ask(entry(), order(model))

    assert (error.value.reason, error.value.acceptance) == ("INVALID_INPUT", Acceptance.NOT_ACCEPTED)


@pytest.mark.parametrize(
    ("models", "told", "message"),
    [
        (["anthropic.claude"], {}, "settings.family must name the family"),
        ([NOVA, CORE], {}, "several families"),
        (["a b"], {}, "neither the id of a model"),
        ([CORE], {"settings": {"max_images_per_call": 2}}, "max_images_per_call must be at most 1"),
        ([CORE], {"settings": {"max_input_images": 2}}, "max_input_images must be at most 1"),
        ([NOVA], {"settings": {"auth": "iam"}, "api_key_env": "KEY"}, "iam excludes api_key_env"),
        ([NOVA], {"settings": {"region": "Frankfurt"}}, "region"),
    ],
)
def test_an_entry_that_could_not_work_is_refused(models: Sequence[str], told: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entry(**told | {"models": [{"name": name} for name in models]})


def test_signatures_without_the_extra_are_told_when_the_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_signing, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'calotype\[bedrock\]'"):
        BedrockProvider(entry(settings={"auth": "iam"}), api_key="")
