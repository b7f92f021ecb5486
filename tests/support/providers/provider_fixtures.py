"""Providers under test, one fixture for each API, for the conformance suites that check all of them.

A new adapter behind HTTP needs a line in `REMOTE` and a golden, to be held to the same contract.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from calotype.provider.v1 import provider_pb2
from PIL import Image

from services.generator.adapters.providers import factory
from services.generator.adapters.providers.a1111.provider import A1111Provider
from services.generator.adapters.providers.azure_openai.provider import AzureOpenAIProvider
from services.generator.adapters.providers.bedrock.provider import BedrockProvider
from services.generator.adapters.providers.bfl.provider import BFLProvider
from services.generator.adapters.providers.comfyui.provider import ComfyUIProvider
from services.generator.adapters.providers.diffusers.entry import DiffusersEntry, DiffusersSettings
from services.generator.adapters.providers.diffusers.pipeline_thread import Drawing
from services.generator.adapters.providers.diffusers.provider import DiffusersProvider
from services.generator.adapters.providers.fal.provider import FalProvider
from services.generator.adapters.providers.gemini.provider import GeminiProvider
from services.generator.adapters.providers.generic.provider import GenericProvider
from services.generator.adapters.providers.huggingface.provider import HuggingFaceProvider
from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.adapters.providers.openai.provider import OpenAIProvider
from services.generator.adapters.providers.procedural.process_pool import Renderers
from services.generator.adapters.providers.replicate.provider import ReplicateProvider
from services.generator.adapters.providers.stability.provider import StabilityProvider
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Generated, Operation
from services.generator.ports import ImageProvider, ProviderRequest
from tests.support.generator.decoder import decoder
from tests.support.providers.scripted_http import Manner, ScriptedResponse, ScriptedServer

KEY = "sk-the-provider-key"
PRICE = 40_000
REMOTE_TIMEOUT = 90.0


class DescribedProvider(ImageProvider, Protocol):
    """A provider with its entry of the catalogue."""

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """The entry."""


#: Adapters behind HTTP by their kind: each has a golden, and every conformance test runs for it.
REMOTE: Mapping[str, Callable[..., DescribedProvider]] = {
    "azure_openai": AzureOpenAIProvider,
    "bedrock": BedrockProvider,
    "a1111": A1111Provider,
    "bfl": BFLProvider,
    "fal": FalProvider,
    "comfyui": ComfyUIProvider,
    "gemini": GeminiProvider,
    "generic": GenericProvider,
    "huggingface": HuggingFaceProvider,
    "openai": OpenAIProvider,
    "replicate": ReplicateProvider,
    "stability": StabilityProvider,
}


#: Adapters that draw on this machine; the others are behind HTTP.
LOCAL = frozenset({"procedural", "diffusers"})


class ProviderFixture(Protocol):
    """A provider, and the server that it calls."""

    provider: DescribedProvider

    def order(self, *, count: int = 1, call_id: str = "call_1", **request: Any) -> ProviderRequest:
        """A call that the provider can carry out; `request` are fields of the request."""

    def expect_success(self, order: ProviderRequest) -> None:
        """Let a call end well."""


class RemoteProviderFixture(ProviderFixture, Protocol):
    """A provider behind HTTP, and the responses to its next requests, in their order."""

    def expect_submit(self, order: ProviderRequest, response: ScriptedResponse | None = None) -> None:
        """The request that buys; without `result` it is accepted."""

    def expect_running(self) -> None:
        """Expects a poll: the operation is running."""

    def expect_result(self, *names: str) -> None:
        """Expects a poll: the operation has succeeded, with images of these names on the provider's own host."""

    def expect_failure(self, message: str) -> None:
        """Expects a poll: the operation has failed, with the provider's message."""

    def expect_poll(self, response: ScriptedResponse) -> None:
        """Expects a poll, with this response."""

    def expect_cancel(self, *, in_time: bool) -> None:
        """Expects a cancellation, which comes in time or too late."""


class ProceduralFixture:
    """Draws itself."""

    def __init__(self, renderers: Renderers) -> None:
        self.provider = _built({"name": "drawn", "kind": "procedural", "timeout_seconds": 60}, renderers)

    def order(self, *, count: int = 1, call_id: str = "call_1", **request: Any) -> ProviderRequest:
        """Returns a call for a small image."""
        return _order("drawn", count, call_id, {"size": "64x64"} | request)

    def expect_success(self, order: ProviderRequest) -> None:
        """It always will."""


class StubPipeline:
    """A pipeline without a model: an image has its seed as its colour."""

    def __call__(self, drawing: Drawing, step: Callable[[float], None]) -> list[Image.Image]:
        """Paint."""
        step(0.5)
        size = drawing.size or (64, 64)
        return [Image.new("RGB", size, (seed % 256, seed // 256 % 256, 0)) for seed in drawing.seeds]


class DiffusersFixture:
    """Draws itself, by a pipeline that needs no extra."""

    def __init__(self) -> None:
        settings = DiffusersSettings(path="/models/painted", max_images_per_call=3)
        entry = DiffusersEntry(name="local", kind="diffusers", settings=settings, timeout_seconds=60)
        self.provider: DescribedProvider = DiffusersProvider(entry, decoder(), load=StubPipeline)

    def order(self, *, count: int = 1, call_id: str = "call_1", **request: Any) -> ProviderRequest:
        """Returns a call for a small image."""
        return _order("painted", count, call_id, {"size": "64x64"} | request)

    def expect_success(self, order: ProviderRequest) -> None:
        """It always will."""


class ReplicateFixture:
    """Plays a script with Replicate's API."""

    model = "owner/name"

    def __init__(
        self, server: ScriptedServer, renderers: Renderers, *, max_images: int = 4, timeout: float = REMOTE_TIMEOUT
    ) -> None:
        inputs = {"prompt": "prompt", "seed": "seed", "n": "num_outputs", "output_format": "output_format"}
        entry = {
            "name": "paid",
            "kind": "replicate",
            "base_url": f"{server.url}/v1",
            "api_key_env": "KEY_OF_PROVIDER",
            "models": [{"name": self.model, "price_micros_per_image": PRICE}],
            "poll_interval_seconds": 0.001,
            "timeout_seconds": timeout,
            "settings": {"max_images_per_call": max_images, "inputs": inputs},
        }
        self.provider = _built(entry, renderers)
        self._server = server
        self._deadline = f"{int(timeout)}s"

    def order(self, *, count: int = 1, call_id: str = "call_1", **request: Any) -> ProviderRequest:
        """A call of the one model."""
        return _order(self.model, count, call_id, request)

    def expect_success(self, order: ProviderRequest) -> None:
        """Expects a submission, a poll while it runs, and a poll with the result."""
        self.expect_submit(order)
        self.expect_running()
        self.expect_result(*(f"{index}.png" for index in range(order.count)))

    @property
    def accepted(self) -> ScriptedResponse:
        """The response to an accepted submission."""
        return ScriptedResponse(status=201, body=self._prediction("starting"))

    def expect_submit(self, order: ProviderRequest, response: ScriptedResponse | None = None) -> None:
        """Exactly one prediction, with exactly these fields."""
        request = order.request
        fields = {"prompt": request.prompt, "seed": order.seed, "output_format": request.output_format}
        # Without a say in how many there are, a model makes one.
        batch = {"num_outputs": order.count} if self.provider.max_images_per_call > 1 else {}
        body = {"input": {name: value for name, value in fields.items() if value is not None} | batch}
        headers = self._headers | {"Cancel-After": self._deadline, "Content-Type": "application/json"}
        path = f"/v1/models/{self.model}/predictions"
        self._server.expect("POST", path, response or self.accepted, headers=headers, body=body)

    def expect_running(self) -> None:
        """`processing`."""
        self.expect_poll(ScriptedResponse(body=self._prediction("processing")))

    def expect_result(self, *names: str) -> None:
        """`succeeded`: a list of addresses."""
        self.expect_result_at(*(f"{self._server.url}/files/{name}" for name in names))

    def expect_result_at(self, *addresses: str) -> None:
        """Expects a poll with `succeeded` and images at any addresses."""
        self.expect_poll(ScriptedResponse(body=self._prediction("succeeded") | {"output": list(addresses)}))

    def expect_failure(self, message: str) -> None:
        """`failed`."""
        self.expect_poll(ScriptedResponse(body=self._prediction("failed") | {"error": message}))

    def expect_poll(self, response: ScriptedResponse) -> None:
        """Expects a poll of the prediction's own address."""
        self._server.expect("GET", "/v1/predictions/p1", response, headers=self._headers, body=None)

    def expect_cancel(self, *, in_time: bool) -> None:
        """A word to the prediction's own cancel address."""
        body = self._prediction("canceled" if in_time else "succeeded")
        self._server.expect(
            "POST", "/v1/predictions/p1/cancel", ScriptedResponse(body=body), headers=self._headers, body=None
        )

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}", "Host": self._server.host}

    def _prediction(self, status: str) -> dict[str, Any]:
        own = f"{self._server.url}/v1/predictions/p1"
        return {"id": "p1", "status": status, "urls": {"get": own, "cancel": f"{own}/cancel"}}


def _built(entry: Mapping[str, Any], renderers: Renderers) -> DescribedProvider:
    """A provider as an entry of the provider file makes it."""
    [read] = ProviderFile.model_validate({"providers": [entry]}).providers
    return factory.build(read, environ={"KEY_OF_PROVIDER": KEY}, renderers=renderers, decoder=decoder())


def _order(model: str, count: int, call_id: str, request: dict[str, Any]) -> ProviderRequest:
    job_request = Request(**({"prompt": "a harbour"} | request))
    return ProviderRequest(
        call_id=call_id, idempotency_key=call_id, model=model, count=count, request=job_request, seed=job_request.seed
    )


async def carry_out(provider: ImageProvider, order: ProviderRequest) -> Generated:
    """Submits, and polls until there is a result."""
    result = await provider.submit(order)
    if not isinstance(result, Operation):
        return result
    while not isinstance(polled := await provider.poll(result), Generated):
        pass
    return polled


#: Malformed responses: the request may have been executed.
MALFORMED_RESPONSES = {
    "html": ScriptedResponse(status=201, body=b"<html>welcome</html>"),
    "empty": ScriptedResponse(status=201),
    "list": ScriptedResponse(status=201, body=[]),
    "object": ScriptedResponse(status=201, body={}),
    "not text": ScriptedResponse(status=201, body=b"\xff\xfe{}"),
    "deep": ScriptedResponse(status=201, body=b"[" * 200_000),
    "cut": ScriptedResponse(status=201, body=b'{"id"', manner=Manner.CUT),
    "endless": ScriptedResponse(status=201, manner=Manner.ENDLESS),
}
