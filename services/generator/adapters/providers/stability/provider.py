"""The provider kind `stability`: the Stable Image endpoints of Stability AI's REST API v2beta.

Wire contract from the vendor's public OpenAPI document. A call makes one image. Most endpoints answer with it; some
with an id, by which it is fetched later. There is no key that makes a request safe to repeat, and nothing by which a
call could be stopped.
"""

from typing import Any
from urllib.parse import quote

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images, options
from services.generator.adapters.providers.http import forms, model_names, operation_errors
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import Answer
from services.generator.adapters.providers.stability import errors
from services.generator.adapters.providers.stability.endpoints import ENDPOINTS, Endpoint, endpoint_of
from services.generator.adapters.providers.stability.entry import StabilityEntry
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.provider_results import (
    Acceptance,
    Generated,
    ImageSource,
    Operation,
    Pending,
    ProviderError,
)
from services.generator.ports import Order

BASE_URL = "https://api.stability.ai/v2beta"
MOST_PROMPT_CHARACTERS = 10_000
#: The largest seed; the vendor's 0 is none, it asks for a random one.
MOST_SEED = 2**32 - 2
#: An answer holds its image as base64.
MOST_ANSWER = 80 * 1024 * 1024
#: Who asks for a result more often than that may be refused.
SHORTEST_PAUSE = 10.0


class StabilityProvider(RemoteProvider):
    """Asks for an image and waits for it. The key is sent to `base_url` alone."""

    traits = Traits(free=False, idempotent=False, resumable=False)
    free_question = "/v1/user/balance"
    max_images_per_call = 1

    def __init__(
        self, entry: StabilityEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(
            entry,
            base_url=BASE_URL,
            credential={"Authorization": f"Bearer {api_key}", "Accept": "application/json"},
            api_key=api_key,
            transport=transport,
            answer_seconds=entry.timeout_seconds,
        )
        if any(one.is_async for one in entry.endpoints):
            self.traits = Traits(free=False, idempotent=False, resumable=True)
            self.poll_interval_seconds = max(self.poll_interval_seconds, SHORTEST_PAUSE)
        self._entry = entry

    def _capabilities(self) -> provider_pb2.Capabilities:
        every = self._entry.endpoints
        return provider_pb2.Capabilities(
            aspect_ratios=self._entry.settings.aspect_ratios if all(one.aspect_ratio for one in every) else (),
            output_formats=self._entry.output_formats,
            negative_prompt=self._entry.negative_prompt,
            seed=all(one.seed for one in every),
            max_input_images=min(len(one.images) for one in every),
            mask=all(one.mask for one in every),
            max_prompt_characters=MOST_PROMPT_CHARACTERS if any(one.prompt for one in every) else 0,
        )

    async def submit(self, order: Order) -> Generated | Operation:
        """Ask, and wait for the image or for what it can be fetched by."""
        path, variant = endpoint_of(order.model)
        endpoint = ENDPOINTS.get(path)
        if endpoint is None or (variant and path != "generate/sd3"):
            raise model_names.unknown(self.name, order.model)
        form = {**self._fields(order, endpoint, variant), **self._files(order, endpoint)}
        answer = await self._buy("POST", f"{self.base_url}/stable-image/{path}", most=MOST_ANSWER, files=form)
        if not answer.is_success:
            raise errors.refusal_of(self.name, answer)
        if endpoint.is_async:
            return operation_errors.named(self.name, read_json(self.name, answer).get("id"), {"model": order.model})
        return self._read(answer, model=order.model)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Fetch the image, once it is there."""
        url = f"{self.base_url}/results/{quote(operation.id, safe='')}"
        answer = await self._ask("GET", url, most=MOST_ANSWER)
        if answer.status_code == 202:
            return Pending()
        if answer.status_code in (404, 410):
            raise operation_errors.gone(self.name)
        if answer.status_code == 429 or answer.status_code >= 500:
            refusal = errors.refusal_of(self.name, answer)
            told = str(answer.status_code)
            raise operation_errors.not_told(self.name, told, retry_after=refusal.retry_after_seconds)
        if answer.status_code != 200:
            refusal = errors.refusal_of(self.name, answer)
            refusal.acceptance = Acceptance.ACCEPTED if refusal.reason == "CONTENT_POLICY" else Acceptance.UNKNOWN
            raise refusal
        try:
            return self._read(answer, model=operation.state.get("model", ""))
        except ProviderError as error:
            if not isinstance(answer.json(), dict):
                raise operation_errors.not_told(self.name, "no result") from error
            # It has ended, with whatever it brought.
            error.acceptance = Acceptance.ACCEPTED
            raise

    def _fields(self, order: Order, endpoint: Endpoint, variant: str) -> dict[str, tuple[None, str]]:
        """The fields, each a part of its own: the API takes nothing but multipart forms, also without a file."""
        request = self._entry.request_for(order.model, order.request)
        changes = bool(order.inputs) and endpoint.strength
        is_sd3 = endpoint is ENDPOINTS["generate/sd3"]
        if changes and is_sd3 and request.aspect_ratio is not None:
            raise options.not_taken(self.name, "aspect_ratio", "with an input image, sd3 makes the picture as that is")
        fields = {
            endpoint.prompt or "": request.prompt if endpoint.prompt else None,
            "negative_prompt": request.negative_prompt,
            "aspect_ratio": request.aspect_ratio,
            "seed": None if order.seed is None else _vendor_seed(order.seed),
            "output_format": request.output_format,
            "model": variant or None,
            "mode": "image-to-image" if changes and is_sd3 else None,
        }
        strength = {"strength": self._entry.settings.strength} if changes else {}
        given = {**strength, **request.options, **{name: value for name, value in fields.items() if value is not None}}
        return {name: (None, forms.text(value)) for name, value in given.items() if value is not None}

    def _files(self, order: Order, endpoint: Endpoint) -> dict[str, tuple[str, bytes, str]]:
        """The pictures by the endpoint's own fields. Raises `ProviderError` where one is missing or would be lost."""
        brought = input_images.of_order(order)
        if len(brought.images) < endpoint.min_images:
            raise options.needs(self.name, order.model, f"{endpoint.min_images} in input_images")
        if len(brought.images) > len(endpoint.images):
            raise input_images.not_taken(self.name, order.model, f"more than {len(endpoint.images)} input images")
        if brought.mask is not None and not endpoint.mask:
            raise input_images.not_taken(self.name, order.model, "a mask")
        named = dict(zip(endpoint.images, brought.images, strict=False))
        if brought.mask is not None:
            named["mask"] = brought.mask
        return {name: input_images.file_of(name, data) for name, data in named.items()}

    def _read(self, answer: Answer, *, model: str) -> Generated:
        told = read_json(self.name, answer)
        # What is fetched later has its image under either name.
        ended, encoded = told.get("finish_reason"), told.get("image") or told.get("result")
        if ended == errors.FILTERED:
            raise errors.filtered(self.name, answer)
        if ended != "SUCCESS" or not isinstance(encoded, str) or not encoded:
            raise errors.no_image(self.name, answer, ended=ended)
        image = ImageSource(base64=encoded, seed=_echoed(told.get("seed")))
        return Generated(images=(image,), cost_micros=self._price(model, 1))


def _vendor_seed(seed: int) -> int:
    """The vendor's seed for one of ours: the same from 1 to the largest; others are folded into that range."""
    # Sent as it is, 0 would ask for a random one, and the same job would not give the same image again.
    return (seed - 1) % MOST_SEED + 1


def _echoed(seed: Any) -> int | None:
    """The seed that the vendor says it used."""
    whole = isinstance(seed, int) and not isinstance(seed, bool)
    return seed if whole and 0 <= seed <= MOST_SEED else None
