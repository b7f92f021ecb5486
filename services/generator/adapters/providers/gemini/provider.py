"""The provider kind `gemini`: Google's Gemini API, `generateContent` of image models; synchronous.

Contract: Google's public reference. A call makes one image. The API has no idempotency key, and no way to poll or
cancel a call.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import options
from services.generator.adapters.providers.gemini import errors, usage
from services.generator.adapters.providers.gemini.entry import GeminiEntry
from services.generator.adapters.providers.http import costs, model_names, responses
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Generated, ImageSource
from services.generator.ports import ProviderRequest

BASE_URL = "https://generativelanguage.googleapis.com/v1beta"
#: The largest seed: the API's field is a signed integer of 32 bits.
MAX_SEED = 2**31 - 1
_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


class GeminiProvider(RemoteProvider):
    """Requests an image and waits for it. The key is sent only to `base_url`, in a header and never in a URL."""

    traits = Traits(free=False, idempotent=False, resumable=False)
    check_path = "models"
    max_images_per_call = 1

    def __init__(self, entry: GeminiEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(
            entry,
            base_url=BASE_URL,
            credential={"x-goog-api-key": api_key},
            api_key=api_key,
            transport=transport,
            response_seconds=entry.timeout_seconds,
        )
        self._entry = entry

    def _capabilities(self) -> provider_pb2.Capabilities:
        limits = self._entry.limits
        return provider_pb2.Capabilities(
            aspect_ratios=limits.aspect_ratios,
            qualities=limits.qualities,
            seed=self._entry.settings.seed,
            max_input_images=limits.max_input_images,
        )

    async def submit(self, provider_request: ProviderRequest) -> Generated:
        """Requests an image and waits for it."""
        model = model_names.path(self.name, provider_request.model, parts=range(1, 2))
        url = f"{self.base_url}/models/{model}:generateContent"
        request = self._entry.request_for(provider_request.model, provider_request.request)
        response = await self._send_paid(
            "POST", url, limit=responses.max_bytes(), json=self._content(provider_request, request)
        )
        if not response.is_success:
            raise errors.refusal_of(self.name, response)
        body = read_json(self.name, response)
        # The last image is the finished one, also if a relay dropped the mark of drafts; the others follow as spares.
        images = tuple(ImageSource(base64=encoded) for encoded in reversed(list(_images(body))))
        if not images:
            raise errors.no_image(self.name, response, body)
        model_entry = self._entry.model_of(provider_request.model)
        cost = costs.of_call(model_entry, 1, tokens=usage.tokens(body), quality=request.quality)
        return Generated(images=images, cost_micros=cost, usage=usage.totals(body))

    def _content(self, provider_request: ProviderRequest, request: Request) -> dict[str, Any]:
        if "contents" in request.options:
            raise options.option_refused(self.name, "contents", "use the fields prompt and input_images")
        if not isinstance(request.options.get("generationConfig", {}), dict):
            raise options.option_refused(self.name, "generationConfig", "it must be an object")
        shape = {"aspectRatio": request.aspect_ratio, "imageSize": request.quality}
        given = {name: value for name, value in shape.items() if value is not None}
        config = {"responseModalities": ["IMAGE"], **_object(request.options, "generationConfig")}
        if image := {**_object(config, "imageConfig"), **given}:
            config["imageConfig"] = image
        if provider_request.seed is not None:
            config["seed"] = provider_request.seed % (MAX_SEED + 1)
        parts = [{"text": request.prompt}, *(_inline(data) for data in provider_request.inputs)]
        return {**request.options, "contents": [{"role": "user", "parts": parts}], "generationConfig": config}


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns a field that is an object; empty if it is missing or something else."""
    value = body.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _inline(data: bytes) -> dict[str, Any]:
    kind = next((kind for start, kind in _SIGNATURES if data.startswith(start)), "application/octet-stream")
    return {"inlineData": {"mimeType": kind, "data": base64.b64encode(data).decode()}}


def _images(body: Mapping[str, Any]) -> Iterator[str]:
    """Yields the images of a response as base64, without drafts (`thought`)."""
    for candidate in errors.objects(body.get("candidates")):
        content = candidate.get("content")
        for part in errors.objects(content.get("parts") if isinstance(content, dict) else None):
            # Both spellings are valid JSON of protobuf; relays pass on either.
            inline = part.get("inlineData", part.get("inline_data"))
            data = inline.get("data") if isinstance(inline, dict) else None
            if isinstance(data, str) and data and not part.get("thought"):
                yield data
