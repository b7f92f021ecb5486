"""The provider kind `huggingface`: models behind Hugging Face's router, run by any inference provider; synchronous.

Contract: Hugging Face's public documentation and client libraries. A call makes one image, which is returned as bytes,
as base64 or as a URL. The API has no idempotency key, and no way to poll or cancel a call.
"""

from collections.abc import Iterator
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.http import responses
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.adapters.providers.huggingface import errors, requests
from services.generator.adapters.providers.huggingface.entry import HuggingFaceEntry
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.provider_results import Generated, ImageSource
from services.generator.ports import ProviderRequest

BASE_URL = "https://router.huggingface.co"


class HuggingFaceProvider(RemoteProvider):
    """Requests an image and waits for it. The token is sent only to `base_url`."""

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
            response_seconds=entry.timeout_seconds,
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

    async def submit(self, provider_request: ProviderRequest) -> Generated:
        """Requests an image and waits for it."""
        request = self._entry.request_for(provider_request.model, provider_request.request)
        path, body, headers = requests.request_of(self._entry.settings.provider, self.name, provider_request, request)
        response = await self._send_paid(
            "POST", f"{self.base_url}{path}", limit=responses.max_bytes(), json=body, headers=headers
        )
        if response.status_code not in (200, 201):
            raise errors.refusal_of(self.name, response)
        image = _image(response)
        if image is None:
            raise errors.no_image(self.name, response, response.json())
        return Generated(images=(image,), cost_micros=self._price(provider_request.model, 1))


def _image(response: ProviderResponse) -> ImageSource | None:
    """Returns the image that a response is or contains; None without one."""
    if input_images.content_type(response.content) != input_images.UNKNOWN and not response.is_cut:
        return ImageSource(data=response.content)
    body = response.json()
    if not isinstance(body, dict) or errors.is_flagged(body):
        return None
    return next(_listed(body), None)


def _listed(body: dict[str, Any]) -> Iterator[ImageSource]:
    for field in ("data", "images", "output"):
        listed = body.get(field)
        for item in listed if isinstance(listed, list) else [listed]:
            encoded = item.get("b64_json") if isinstance(item, dict) else None
            address = item.get("url") if isinstance(item, dict) else item
            if isinstance(encoded, str) and encoded:
                yield ImageSource(base64=encoded)
            elif isinstance(address, str) and address.startswith("data:"):
                yield ImageSource(base64=address)
            elif isinstance(address, str) and address:
                yield ImageSource(url=address)
