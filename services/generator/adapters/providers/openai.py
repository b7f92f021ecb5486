"""The provider kind `openai`: OpenAI's Images API, and every server that speaks it; synchronous.

Wire contract from the public OpenAPI document of the vendor. There is no seed, no key that makes a request safe to
repeat, and nothing by which a call could be followed or stopped.
"""

from collections.abc import Mapping
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.provider_entries import AzureOpenAIEntry, OpenAIEntry
from services.generator.adapters.providers import forms, options
from services.generator.adapters.providers import openai_errors as errors
from services.generator.adapters.providers.answers import Answer
from services.generator.adapters.providers.http_errors import classify, read_json
from services.generator.adapters.providers.remote import RemoteProvider
from services.generator.domain.outcomes import (
    Generated,
    ImageSource,
)
from services.generator.domain.plan import Traits
from services.generator.ports import Order

BASE_URL = "https://api.openai.com/v1"
MOST_PROMPT_CHARACTERS = 32_000
#: An answer holds its images as base64: so much for the largest, and so much more for each.
MOST_ANSWER, MOST_PER_IMAGE = 80 * 1024 * 1024, 12 * 1024 * 1024
#: Options by which the answer would come in parts.
_STREAMING = ("stream", "partial_images")
_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


class OpenAIProvider(RemoteProvider):
    """Asks for images and waits for them. The key is sent to `base_url` alone."""

    traits = Traits(free=False, idempotent=False, resumable=False)
    free_question = "models"

    def __init__(
        self,
        entry: OpenAIEntry | AzureOpenAIEntry,
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
        settings = self._entry.settings
        return provider_pb2.Capabilities(
            sizes=settings.sizes,
            output_formats=settings.output_formats,
            qualities=settings.qualities,
            max_input_images=settings.max_input_images,
            mask=settings.max_input_images > 0,
            max_prompt_characters=MOST_PROMPT_CHARACTERS,
        )

    async def submit(self, order: Order) -> Generated:
        """Ask, and wait for the images."""
        fields = self._fields(order)
        request: dict[str, Any] = {"json": fields}
        if order.inputs:
            request = {"data": forms.fields(fields), "files": _files(order)}
        path = "images/edits" if order.inputs else "images/generations"
        most = MOST_ANSWER + MOST_PER_IMAGE * order.count
        answer = await self._buy("POST", f"{self.base_url}/{path}", most=most, **request)
        if not answer.is_success:
            raise classify(self.name, answer, errors.RULES, retry_after=errors.retry_after(answer))
        return self._read(answer, model=order.model)

    def _fields(self, order: Order) -> dict[str, Any]:
        request = self._entry.defaults.applied_to(order.request)
        if refused := next((name for name in _STREAMING if request.options.get(name)), None):
            raise options.not_taken(self.name, refused, "the answer would come as a stream of events")
        fields = {
            "model": order.model,
            "prompt": request.prompt,
            "n": order.count,
            "size": request.size,
            "quality": request.quality,
            "output_format": request.output_format,
            "response_format": self._entry.settings.response_format,
        }
        return {**request.options, **{name: value for name, value in fields.items() if value is not None}}

    def _read(self, answer: Answer, *, model: str) -> Generated:
        told = read_json(self.name, answer)
        listed = told.get("data")
        found = [_source(one, answer) for one in listed] if isinstance(listed, list) else []
        images = tuple(one for one in found if one is not None)
        if not images:
            raise errors.no_image(self.name, answer, told)
        return Generated(images=images, cost_micros=self._price(model, len(images)))


def _files(order: Order) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The images in their order; the mask, where there is one, comes last among the inputs."""
    has_mask = any(image.index < 0 for image in order.request.inputs)
    pictures = order.inputs[:-1] if has_mask else order.inputs
    files = [("image[]", _file(f"image-{number}", data)) for number, data in enumerate(pictures)]
    return [*files, ("mask", _file("mask", order.inputs[-1]))] if has_mask else files


def _file(name: str, data: bytes) -> tuple[str, bytes, str]:
    kind = next((kind for start, kind in _SIGNATURES if data.startswith(start)), "application/octet-stream")
    return f"{name}.{kind.rpartition('/')[2]}", data, kind


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
