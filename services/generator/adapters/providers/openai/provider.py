"""The provider kind `openai`: OpenAI's Images API, and every server that speaks it; synchronous.

Wire contract from the public OpenAPI document of the vendor. There is no seed, no key that makes a request safe to
repeat, and nothing by which a call could be followed or stopped.
"""

from collections.abc import Mapping
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import options
from services.generator.adapters.providers.http import costs, listed_images
from services.generator.adapters.providers.http.errors import classify, read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import Answer
from services.generator.adapters.providers.openai import errors, requests, usage
from services.generator.adapters.providers.openai.entry import ImagesAPIEntry
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import MaskForm, Request
from services.generator.domain.provider_results import Generated, ImageSource
from services.generator.ports import Order

BASE_URL = "https://api.openai.com/v1"
MOST_PROMPT_CHARACTERS = 32_000
#: An answer holds its images as base64: so much for the largest, and so much more for each.
MOST_ANSWER, MOST_PER_IMAGE = 80 * 1024 * 1024, 12 * 1024 * 1024
#: Options by which the answer would come in parts.
_STREAMING = ("stream", "partial_images")


class OpenAIProvider(RemoteProvider):
    """Asks for images and waits for them. The key is sent to `base_url` alone."""

    traits = Traits(free=False, idempotent=False, resumable=False)
    free_question = "models"

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
            answer_seconds=entry.timeout_seconds,
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
            max_prompt_characters=MOST_PROMPT_CHARACTERS,
        )

    def mask_form(self, model: str) -> MaskForm:
        """OpenAI reads what is transparent, servers with its API what is white."""
        return MaskForm.TWO_WAY

    async def submit(self, order: Order) -> Generated:
        """Ask, and wait for the images."""
        settings = self._entry.settings
        request = self._entry.request_for(order.model, order.request)
        body = requests.body(order, self._fields(order, request), settings.edits)
        path = settings.edits.path if order.inputs else settings.path
        most = MOST_ANSWER + MOST_PER_IMAGE * order.count
        answer = await self._buy("POST", f"{self.base_url}/{path}", most=most, **body)
        if not answer.is_success:
            raise classify(self.name, answer, errors.RULES, retry_after=errors.retry_after(answer))
        return self._read(answer, order, request)

    def _fields(self, order: Order, request: Request) -> dict[str, Any]:
        if refused := next((name for name in _STREAMING if request.options.get(name)), None):
            raise options.not_taken(self.name, refused, "the answer would come as a stream of events")
        told = requests.fields(order, request, self._entry.settings)
        if order.inputs and self._entry.settings.edits.body == "multipart" and request.moderation:
            # The form has no such field, as JSON has; what asks for nothing need not be said.
            if request.moderation != "auto":
                raise options.not_taken(self.name, "moderation", "with input images it needs edits.body: json")
            del told[self._entry.settings.inputs["moderation"]]
        return told

    def _read(self, answer: Answer, order: Order, request: Request) -> Generated:
        told = read_json(self.name, answer)
        images = listed_images.read(told.get("data"), lambda one: _source(one, answer))
        if not images:
            raise errors.no_image(self.name, answer, told)
        return Generated(images=images, cost_micros=self._cost(answer, told, order, request, len(images)))

    def _cost(self, answer: Answer, told: Mapping[str, Any], order: Order, request: Request, count: int) -> int | None:
        """What the answer says; of quality and size what it says too, as the vendor may have chosen them."""
        quality, size = (told.get(name) for name in ("quality", "size"))
        return costs.of_call(
            self._entry.model_of(order.model),
            count,
            told=usage.told_cost(answer, told),
            tokens=usage.tokens(told, has_inputs=bool(order.inputs)),
            quality=quality if isinstance(quality, str) else request.quality,
            size=size if isinstance(size, str) else request.size,
        )


def _source(told: Any, answer: Answer) -> ImageSource | None:
    if not isinstance(told, dict):
        return None
    words = told.get("revised_prompt")
    revised = words if isinstance(words, str) and words else None
    encoded, url = told.get("b64_json"), told.get("url")
    if isinstance(encoded, str) and encoded:
        return ImageSource(base64=encoded, revised_prompt=revised)
    if not isinstance(url, str) or not url:
        return None
    return ImageSource(url=answer.address(url), revised_prompt=revised)
