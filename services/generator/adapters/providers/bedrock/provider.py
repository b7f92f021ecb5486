"""The provider kind `bedrock`: image models on Amazon Bedrock, `InvokeModel`; synchronous.

Contract: AWS's public reference. The API has no idempotency key, and no way to poll or cancel a call.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers.bedrock import errors, models
from services.generator.adapters.providers.bedrock.aws_signing import Signer
from services.generator.adapters.providers.bedrock.entry import FAMILIES, BedrockEntry
from services.generator.adapters.providers.http import credentials, model_names, responses
from services.generator.adapters.providers.http.credentials import KeyOfEntry
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.provider_results import Generated
from services.generator.ports import ProviderRequest

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class BedrockProvider(RemoteProvider):
    """Requests images and waits for them. Keys and signatures are sent only to `base_url`.

    `find_credentials` is for tests, in place of botocore's search for credentials.
    """

    traits = Traits(free=False, idempotent=False, resumable=False)

    def __init__(
        self,
        entry: BedrockEntry,
        *,
        api_key: str,
        transport: httpx.AsyncBaseTransport | None = None,
        find_credentials: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(
            entry,
            base_url=f"https://bedrock-runtime.{entry.settings.region}.amazonaws.com",
            credential={},
            api_key=api_key,
            transport=transport,
            response_seconds=entry.timeout_seconds,
        )
        self._entry = entry
        self._limits = FAMILIES[entry.family]
        self.max_images_per_call = entry.settings.max_images_per_call or self._limits.max_images_per_call
        is_signed = entry.settings.auth == "iam"
        self._signer = (
            Signer(entry.name, entry.settings.region, find_credentials=find_credentials) if is_signed else None
        )
        self._key = KeyOfEntry(entry, api_key)

    def _capabilities(self) -> provider_pb2.Capabilities:
        settings, limits = self._entry.settings, self._limits
        sizes = settings.sizes or limits.sizes
        smallest, largest, multiple = (0, 0, 0) if sizes else limits.sides
        inputs = limits.max_input_images if settings.max_input_images is None else settings.max_input_images
        return provider_pb2.Capabilities(
            sizes=sizes,
            min_side=smallest,
            max_side=largest,
            side_multiple=multiple,
            aspect_ratios=settings.aspect_ratios or limits.aspect_ratios,
            qualities=limits.qualities,
            output_formats=limits.output_formats,
            seed=True,
            negative_prompt=True,
            max_input_images=inputs,
            max_prompt_characters=limits.max_prompt_characters,
        )

    async def submit(self, provider_request: ProviderRequest) -> Generated:
        """Requests images and waits for them."""
        if not self._entry.accepts_model(provider_request.model):
            raise model_names.unknown(self.name, provider_request.model)
        request = self._entry.request_for(provider_request.model, provider_request.request)
        family = self._entry.family
        seed = models.seed_for(family, provider_request)
        body = json.dumps(models.body_of(family, provider_request, request, seed=seed)).encode()
        response = await self._invoke(provider_request.model, body, limit=responses.max_bytes(provider_request.count))
        if not response.is_success:
            raise errors.refusal_of(self.name, response)
        content = read_json(self.name, response)
        images = models.images_of(content, seed=seed if provider_request.count == 1 else None)
        if not images:
            raise errors.no_image(self.name, response, content)
        return Generated(images=images, cost_micros=self._price(provider_request.model, len(images)))

    async def _invoke(self, model: str, body: bytes, *, limit: int) -> ProviderResponse:
        """Sends a request with the current credential; sends it again with a renewed one if that is refused."""
        url = f"{self.base_url}/model/{quote(model, safe='')}/invoke"
        if self._signer is None:
            send = self._send_paid

            async def with_key(key: str) -> ProviderResponse:
                headers = {**_HEADERS, **credentials.bearer(key)}
                return await send("POST", url, limit=limit, content=body, headers=headers)

            return await credentials.send(self._key, with_key, is_refused=_is_denied)
        signed = await self._signer.signed(url, body, _HEADERS)
        response = await self._send_paid("POST", url, limit=limit, content=body, headers=signed.headers)
        if not _is_denied(response):
            return response
        renewed = await self._signer.signed_again(url, body, _HEADERS, refused=signed)
        if renewed is None:
            return response
        return await self._send_paid("POST", url, limit=limit, content=body, headers=renewed.headers)


def _is_denied(response: ProviderResponse) -> bool:
    return response.status_code in (400, 401, 403) and errors.code_of(response) in errors.DENIED
