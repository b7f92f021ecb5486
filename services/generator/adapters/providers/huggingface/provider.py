"""The provider kind `huggingface`: models behind Hugging Face's router, whoever runs them; synchronous.

Wire contract from the vendor's public documentation and client libraries. A call makes one image, which comes as bytes,
as base64 or by address. There is no key that makes a request safe to repeat, and nothing by which a call could be
followed or stopped.
"""

from collections.abc import Iterator
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import Answer
from services.generator.adapters.providers.huggingface import errors, requests
from services.generator.adapters.providers.huggingface.entry import HuggingFaceEntry
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.provider_results import Generated, ImageSource
from services.generator.ports import Order

BASE_URL = "https://router.huggingface.co"
#: An answer is its image, or holds it as base64.
MOST_ANSWER = 80 * 1024 * 1024


class HuggingFaceProvider(RemoteProvider):
    """Asks for an image and waits for it. The token is sent to `base_url` alone."""

    traits = Traits(free=False, idempotent=False, resumable=False)
    max_images_per_call = 1

    def __init__(
        self, entry: HuggingFaceEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        billing = {"X-HF-Bill-To": entry.settings.bill_to} if entry.settings.bill_to else {}
        super().__init__(
            entry,
            base_url=BASE_URL,
            credential={"Authorization": f"Bearer {api_key}", **billing},
            api_key=api_key,
            transport=transport,
            answer_seconds=entry.timeout_seconds,
        )
        self._entry = entry

    def _capabilities(self) -> provider_pb2.Capabilities:
        settings = self._entry.settings
        return provider_pb2.Capabilities(
            min_side=settings.min_side,
            max_side=settings.max_side,
            side_multiple=settings.side_multiple,
            seed=settings.seed,
            negative_prompt=settings.negative_prompt,
            max_input_images=settings.max_input_images,
        )

    async def submit(self, order: Order) -> Generated:
        """Ask, and wait for the image."""
        request = self._entry.request_for(order.model, order.request)
        path, body, headers = requests.request_of(self._entry.settings.provider, self.name, order, request)
        answer = await self._buy("POST", f"{self.base_url}{path}", most=MOST_ANSWER, json=body, headers=headers)
        if answer.status_code not in (200, 201):
            raise errors.refusal_of(self.name, answer)
        image = _image(answer)
        if image is None:
            raise errors.no_image(self.name, answer, answer.json())
        return Generated(images=(image,), cost_micros=self._price(order.model, 1))


def _image(answer: Answer) -> ImageSource | None:
    """The image that an answer is, or holds."""
    if input_images.content_type(answer.content) != input_images.UNKNOWN and not answer.is_cut:
        return ImageSource(data=answer.content)
    told = answer.json()
    if not isinstance(told, dict) or errors.is_flagged(told):
        return None
    return next(_listed(told), None)


def _listed(told: dict[str, Any]) -> Iterator[ImageSource]:
    for field in ("data", "images", "output"):
        listed = told.get(field)
        for one in listed if isinstance(listed, list) else [listed]:
            encoded = one.get("b64_json") if isinstance(one, dict) else None
            address = one.get("url") if isinstance(one, dict) else one
            if isinstance(encoded, str) and encoded:
                yield ImageSource(base64=encoded)
            elif isinstance(address, str) and address.startswith("data:"):
                yield ImageSource(base64=address)
            elif isinstance(address, str) and address:
                yield ImageSource(url=address)
