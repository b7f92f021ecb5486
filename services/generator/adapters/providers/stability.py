"""The provider kind `stability`: the Stable Image endpoints of Stability AI's REST API v2beta; synchronous.

Wire contract from the vendor's public OpenAPI document. A call makes one image. There is no key that makes a request
safe to repeat, and nothing by which a call could be followed or stopped.
"""

from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.provider_entries import StabilityEntry
from services.generator.adapters.providers import forms, model_names
from services.generator.adapters.providers import stability_errors as errors
from services.generator.adapters.providers.answers import Answer
from services.generator.adapters.providers.http_errors import read_json
from services.generator.adapters.providers.remote import RemoteProvider
from services.generator.domain.outcomes import Generated, ImageSource
from services.generator.domain.plan import Traits
from services.generator.ports import Order

BASE_URL = "https://api.stability.ai/v2beta"
MOST_PROMPT_CHARACTERS = 10_000
#: The largest seed; the vendor's 0 is none, it asks for a random one.
MOST_SEED = 2**32 - 2
#: An answer holds its image as base64.
MOST_ANSWER = 80 * 1024 * 1024


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
        self._entry = entry

    def _capabilities(self) -> provider_pb2.Capabilities:
        return provider_pb2.Capabilities(
            aspect_ratios=self._entry.settings.aspect_ratios,
            output_formats=self._entry.output_formats,
            negative_prompt=self._entry.negative_prompt,
            seed=True,
            max_prompt_characters=MOST_PROMPT_CHARACTERS,
        )

    async def submit(self, order: Order) -> Generated:
        """Ask, and wait for the image."""
        endpoint, _, model = order.model.partition("/")
        path = model_names.path(self.name, endpoint, parts=range(1, 2))
        url = f"{self.base_url}/stable-image/generate/{path}"
        answer = await self._buy("POST", url, most=MOST_ANSWER, files=self._form(order, model))
        if answer.status_code != 200:
            raise errors.refusal_of(self.name, answer)
        return self._read(answer, model=order.model)

    def _form(self, order: Order, model: str) -> dict[str, tuple[None, str]]:
        """The fields, each a part of its own: the API takes nothing but multipart forms, also without a file."""
        request = self._entry.defaults.applied_to(order.request)
        fields = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "aspect_ratio": request.aspect_ratio,
            "seed": None if order.seed is None else _vendor_seed(order.seed),
            "output_format": request.output_format,
            "model": model or None,
        }
        given = {**request.options, **{name: value for name, value in fields.items() if value is not None}}
        return {name: (None, forms.text(value)) for name, value in given.items() if value is not None}

    def _read(self, answer: Answer, *, model: str) -> Generated:
        told = read_json(self.name, answer)
        ended, encoded = told.get("finish_reason"), told.get("image")
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
