"""The provider kind `openai`: OpenAI's Images API, of OpenAI and of every other server that has it; synchronous.

Contract: OpenAI's public OpenAPI document. The API has no seed, no idempotency key, and no way to poll or cancel a
call.
"""

from collections.abc import Mapping
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import options
from services.generator.adapters.providers.http import costs, listed_images, responses
from services.generator.adapters.providers.http.errors import classify, read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.adapters.providers.openai import errors, requests, usage
from services.generator.adapters.providers.openai.entry import ImagesAPIEntry
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import MaskForm, Request
from services.generator.domain.provider_results import Generated, ImageSource
from services.generator.ports import ProviderRequest

BASE_URL = "https://api.openai.com/v1"
MAX_PROMPT_CHARACTERS = 32_000
#: Options that would turn the response into a stream.
_STREAMING = ("stream", "partial_images")


class OpenAIProvider(RemoteProvider):
    """Requests images and waits for them. The key is sent only to `base_url`."""

    traits = Traits(free=False, idempotent=False, resumable=False)
    check_path = "models"

    def __init__(
        self,
        entry: ImagesAPIEntry,
        *,
        api_key: str,
        transport: httpx.AsyncBaseTransport | None = None,
        credential: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            entry,
            base_url=BASE_URL,
            credential={"Authorization": f"Bearer {api_key}"} if credential is None else credential,
            api_key=api_key,
            transport=transport,
            response_seconds=entry.timeout_seconds,
        )
        self.max_images_per_call = entry.settings.max_images_per_call
        self._entry = entry

    def _capabilities(self) -> provider_pb2.Capabilities:
        settings, limits = self._entry.settings, self._entry.limits
        inputs = settings.inputs
        sized = "size" in inputs or "width" in inputs
        return provider_pb2.Capabilities(
            sizes=limits.sizes if sized else (),
            min_side=limits.min_side if sized else 0,
            max_side=limits.max_side if sized else 0,
            side_multiple=limits.side_multiple if sized else 0,
            max_ratio=limits.max_ratio if sized else 0,
            aspect_ratios=settings.aspect_ratios,
            output_formats=settings.output_formats if "output_format" in inputs else (),
            qualities=limits.qualities if "quality" in inputs or settings.quality_fields else (),
            backgrounds=limits.backgrounds if "background" in inputs else (),
            output_compression=limits.output_compression and "output_compression" in inputs,
            moderations=limits.moderations if "moderation" in inputs else (),
            input_fidelities=limits.input_fidelities if "input_fidelity" in inputs else (),
            seed="seed" in inputs,
            negative_prompt="negative_prompt" in inputs,
            max_input_images=limits.max_input_images,
            mask=limits.max_input_images > 0 and settings.edits.mask is not None,
            max_prompt_characters=MAX_PROMPT_CHARACTERS,
        )

    def mask_form(self, model: str) -> MaskForm:
        """Returns TWO_WAY: OpenAI edits the transparent area, other servers with its API the white area."""
        return MaskForm.TWO_WAY

    async def submit(self, provider_request: ProviderRequest) -> Generated:
        """Requests images and waits for them."""
        settings = self._entry.settings
        request = self._entry.request_for(provider_request.model, provider_request.request)
        body = requests.body(provider_request, self._fields(provider_request, request), settings.edits)
        path = settings.edits.path if provider_request.inputs else settings.path
        limit = responses.max_bytes(provider_request.count)
        response = await self._send_paid("POST", f"{self.base_url}/{path}", limit=limit, **body)
        if not response.is_success:
            raise classify(self.name, response, errors.RULES, retry_after=errors.retry_after(response))
        return self._read(response, provider_request, request)

    def _fields(self, provider_request: ProviderRequest, request: Request) -> dict[str, Any]:
        if refused := next((name for name in _STREAMING if request.options.get(name)), None):
            raise options.option_refused(self.name, refused, "the response would be a stream of events")
        fields = requests.fields(provider_request, request, self._entry.settings)
        if provider_request.inputs and self._entry.settings.edits.body == "multipart" and request.moderation:
            # The form has no such field; its neutral value need not be sent.
            if request.moderation != "auto":
                raise options.option_refused(self.name, "moderation", "with input images it needs edits.body: json")
            del fields[self._entry.settings.inputs["moderation"]]
        return fields

    def _read(self, response: ProviderResponse, provider_request: ProviderRequest, request: Request) -> Generated:
        body = read_json(self.name, response)
        images = listed_images.read(body.get("data"), lambda item: _source(item, response))
        if not images:
            raise errors.no_image(self.name, response, body)
        cost = self._cost(response, body, provider_request, request, len(images))
        return Generated(images=images, cost_micros=cost, usage=usage.totals(body))

    def _cost(
        self,
        response: ProviderResponse,
        body: Mapping[str, Any],
        provider_request: ProviderRequest,
        request: Request,
        count: int,
    ) -> int | None:
        """Returns the cost; quality and size are those of the response, since the provider may have chosen them."""
        quality, size = (body.get(name) for name in ("quality", "size"))
        return costs.of_call(
            self._entry.model_of(provider_request.model),
            count,
            reported=usage.reported_cost(response, body),
            tokens=usage.tokens(body, has_inputs=bool(provider_request.inputs)),
            quality=quality if isinstance(quality, str) else request.quality,
            size=size if isinstance(size, str) else request.size,
        )


def _source(item: Any, response: ProviderResponse) -> ImageSource | None:
    if not isinstance(item, dict):
        return None
    words = item.get("revised_prompt")
    revised = words if isinstance(words, str) and words else None
    encoded, url = item.get("b64_json"), item.get("url")
    if isinstance(encoded, str) and encoded:
        return ImageSource(base64=encoded, revised_prompt=revised)
    if not isinstance(url, str) or not url:
        return None
    return ImageSource(url=response.address(url), revised_prompt=revised)
