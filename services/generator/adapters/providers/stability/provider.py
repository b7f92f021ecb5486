"""The provider kind `stability`: the Stable Image endpoints of Stability AI's REST API v2beta.

Contract: Stability AI's public OpenAPI document. A call makes one image. Most endpoints return it; some return an id,
by which it is fetched later. The API has no idempotency key, and no way to cancel a call.
"""

from typing import Any
from urllib.parse import quote

import httpx
from calotype.error_reasons import Reason
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images, options
from services.generator.adapters.providers.http import forms, model_names, operation_errors, responses
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.adapters.providers.stability import errors
from services.generator.adapters.providers.stability.endpoints import ENDPOINTS, StabilityEndpoint, endpoint_of
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
from services.generator.ports import ProviderRequest

BASE_URL = "https://api.stability.ai/v2beta"
MAX_PROMPT_CHARACTERS = 10_000
#: The largest seed; to the API, 0 means a random seed.
MAX_SEED = 2**32 - 2
#: The API may refuse to be polled at shorter intervals.
MIN_POLL_SECONDS = 10.0


class StabilityProvider(RemoteProvider):
    """Requests an image and waits for it. The key is sent only to `base_url`."""

    traits = Traits(free=False, idempotent=False, resumable=False)
    check_path = "/v1/user/balance"
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
            response_seconds=entry.timeout_seconds,
        )
        if any(item.is_async for item in entry.endpoints):
            self.traits = Traits(free=False, idempotent=False, resumable=True)
            self.poll_interval_seconds = max(self.poll_interval_seconds, MIN_POLL_SECONDS)
        self._entry = entry

    def _capabilities(self) -> provider_pb2.Capabilities:
        every = self._entry.endpoints
        return provider_pb2.Capabilities(
            aspect_ratios=self._entry.settings.aspect_ratios if all(item.aspect_ratio for item in every) else (),
            output_formats=self._entry.output_formats,
            negative_prompt=self._entry.negative_prompt,
            seed=all(item.seed for item in every),
            max_input_images=min(len(item.images) for item in every),
            mask=all(item.mask for item in every),
            max_prompt_characters=MAX_PROMPT_CHARACTERS if any(item.prompt for item in every) else 0,
        )

    async def submit(self, provider_request: ProviderRequest) -> Generated | Operation:
        """Requests an image and waits for it, or for the id by which it is fetched later."""
        path, variant = endpoint_of(provider_request.model)
        endpoint = ENDPOINTS.get(path)
        if endpoint is None or (variant and path != "generate/sd3"):
            raise model_names.unknown(self.name, provider_request.model)
        form = {**self._fields(provider_request, endpoint, variant), **self._files(provider_request, endpoint)}
        response = await self._send_paid(
            "POST", f"{self.base_url}/stable-image/{path}", limit=responses.max_bytes(), files=form
        )
        if not response.is_success:
            raise errors.refusal_of(self.name, response)
        if endpoint.is_async:
            return operation_errors.named(
                self.name, read_json(self.name, response).get("id"), {"model": provider_request.model}
            )
        return self._read(response, model=provider_request.model)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Fetches the image if it is ready."""
        url = f"{self.base_url}/results/{quote(operation.id, safe='')}"
        response = await self._send_free("GET", url, limit=responses.max_bytes())
        if response.status_code == 202:
            return Pending()
        if response.status_code in (404, 410):
            raise operation_errors.lost(self.name)
        if response.status_code == 429 or response.status_code >= 500:
            refusal = errors.refusal_of(self.name, response)
            status = str(response.status_code)
            raise operation_errors.status_unknown(self.name, status, retry_after=refusal.retry_after_seconds)
        if response.status_code != 200:
            refusal = errors.refusal_of(self.name, response)
            refusal.acceptance = Acceptance.ACCEPTED if refusal.reason == Reason.CONTENT_POLICY else Acceptance.UNKNOWN
            raise refusal
        try:
            return self._read(response, model=operation.state.get("model", ""))
        except ProviderError as error:
            if not isinstance(response.json(), dict):
                raise operation_errors.status_unknown(self.name, "no result") from error
            # The operation has ended, so it may be charged.
            error.acceptance = Acceptance.ACCEPTED
            raise

    def _fields(
        self, provider_request: ProviderRequest, endpoint: StabilityEndpoint, variant: str
    ) -> dict[str, tuple[None, str]]:
        """Returns the fields as parts of a form: the API takes only multipart forms, also without a file."""
        request = self._entry.request_for(provider_request.model, provider_request.request)
        changes = bool(provider_request.inputs) and endpoint.strength
        is_sd3 = endpoint is ENDPOINTS["generate/sd3"]
        if changes and is_sd3 and request.aspect_ratio is not None:
            raise options.option_refused(
                self.name, "aspect_ratio", "with an input image, sd3 keeps that image's ratio; leave it out"
            )
        fields = {
            endpoint.prompt or "": request.prompt if endpoint.prompt else None,
            "negative_prompt": request.negative_prompt,
            "aspect_ratio": request.aspect_ratio,
            "seed": None if provider_request.seed is None else _provider_seed(provider_request.seed),
            "output_format": request.output_format,
            "model": variant or None,
            "mode": "image-to-image" if changes and is_sd3 else None,
        }
        strength = {"strength": self._entry.settings.strength} if changes else {}
        given = {**strength, **request.options, **{name: value for name, value in fields.items() if value is not None}}
        return {name: (None, forms.text(value)) for name, value in given.items() if value is not None}

    def _files(
        self, provider_request: ProviderRequest, endpoint: StabilityEndpoint
    ) -> dict[str, tuple[str, bytes, str]]:
        """Returns the input images by the endpoint's fields. Raises `ProviderError` for too few or too many."""
        attached = input_images.of_request(provider_request)
        if len(attached.images) < endpoint.min_images:
            raise options.needs(self.name, provider_request.model, f"{endpoint.min_images} in input_images")
        if len(attached.images) > len(endpoint.images):
            raise input_images.images_refused(
                self.name, provider_request.model, f"more than {len(endpoint.images)} input images"
            )
        if attached.mask is not None and not endpoint.mask:
            raise input_images.images_refused(self.name, provider_request.model, "a mask")
        named = dict(zip(endpoint.images, attached.images, strict=False))
        if attached.mask is not None:
            named["mask"] = attached.mask
        return {name: input_images.file_of(name, data) for name, data in named.items()}

    def _read(self, response: ProviderResponse, *, model: str) -> Generated:
        body = read_json(self.name, response)
        # A result that is fetched later has its image in either field.
        ended, encoded = body.get("finish_reason"), body.get("image") or body.get("result")
        if ended == errors.FILTERED:
            raise errors.filtered(self.name, response)
        if ended != "SUCCESS" or not isinstance(encoded, str) or not encoded:
            raise errors.no_image(self.name, response, ended=ended)
        image = ImageSource(base64=encoded, seed=_echoed(body.get("seed")))
        return Generated(images=(image,), cost_micros=self._price(model, 1))


def _provider_seed(seed: int) -> int:
    """Returns the seed to send: unchanged from 1 to `MAX_SEED`, others mapped into that range."""
    # Sent unchanged, 0 would mean a random seed, and the same job would not repeat its image.
    return (seed - 1) % MAX_SEED + 1


def _echoed(seed: Any) -> int | None:
    """Returns the seed that the response reports; None if it is none."""
    whole = isinstance(seed, int) and not isinstance(seed, bool)
    return seed if whole and 0 <= seed <= MAX_SEED else None
