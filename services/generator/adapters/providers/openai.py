"""The provider kind `openai`: OpenAI's Images API, and every server that speaks it; synchronous.

Wire contract from the public OpenAPI document of the vendor. There is no seed, no key that makes a request safe to
repeat, and nothing by which a call could be followed or stopped.
"""

from typing import Any
from urllib.parse import urlsplit

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.provider_entries import OpenAIEntry
from services.generator.adapters.providers import openai_errors as errors
from services.generator.adapters.providers.http_errors import classify, exchange, lost_answer, read_json
from services.generator.domain.outcomes import (
    Acceptance,
    CancelOutcome,
    Generated,
    ImageSource,
    Operation,
    Pending,
    ProviderError,
    VendorError,
)
from services.generator.domain.plan import Traits
from services.generator.ports import Order

BASE_URL = "https://api.openai.com/v1"
MOST_PROMPT_CHARACTERS = 32_000
#: An answer holds its images as base64: so much for the largest, and so much more for each.
MOST_ANSWER, MOST_PER_IMAGE = 80 * 1024 * 1024, 12 * 1024 * 1024
_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


class OpenAIProvider:
    """Asks for images and waits for them. The key is sent to `base_url` alone."""

    traits = Traits(free=False, idempotent=False, resumable=False)

    def __init__(self, entry: OpenAIEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        base_url = (entry.base_url or BASE_URL).rstrip("/")
        parts = urlsplit(base_url)
        self.name = entry.name
        self.timeout_seconds = entry.timeout_seconds
        self.poll_interval_seconds = entry.poll_interval_seconds
        self.allow_private_addresses = entry.allow_private_addresses
        self.trusted_host: str | None = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self.max_images_per_call = entry.settings.max_images_per_call
        self._entry = entry
        self._base_url = base_url
        self._key = api_key
        # A connection that the other side has just closed makes a purchase ambiguous: each has a fresh one.
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(
            transport=transport or httpx.AsyncHTTPTransport(retries=0, limits=limits, trust_env=False),
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": "calotype"},
            timeout=httpx.Timeout(entry.timeout_seconds, connect=10.0),
            follow_redirects=False,
            trust_env=False,
        )

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """The entry of the catalogue: what the models take is named in `settings`."""
        settings = self._entry.settings
        return provider_pb2.Provider(
            name=self.name,
            kind=self._entry.kind,
            is_default=is_default,
            default_model=self._entry.model,
            models=[
                provider_pb2.Model(name=model.name, price_micros_per_image=model.price_micros_per_image)
                for model in self._entry.models
            ],
            capabilities=provider_pb2.Capabilities(
                max_images_per_call=self.max_images_per_call,
                sizes=settings.sizes,
                output_formats=settings.output_formats,
                qualities=settings.qualities,
                max_input_images=settings.max_input_images,
                mask=settings.max_input_images > 0,
                max_prompt_characters=MOST_PROMPT_CHARACTERS,
                resumable=self.traits.resumable,
                idempotent=self.traits.idempotent,
                free=self.traits.free,
            ),
            max_concurrency=self._entry.max_concurrency,
            requests_per_minute=self._entry.requests_per_minute,
            timeout_seconds=int(self.timeout_seconds),
        )

    async def submit(self, order: Order) -> Generated:
        """Ask, and wait for the images."""
        fields = self._fields(order)
        request: dict[str, Any] = {"json": fields}
        if order.inputs:
            # A form knows text alone.
            texts = {name: value if isinstance(value, str) else str(value) for name, value in fields.items()}
            request = {"data": texts, "files": _files(order)}
        path = "images/edits" if order.inputs else "images/generations"
        most = MOST_ANSWER + MOST_PER_IMAGE * order.count
        try:
            answer = await exchange(
                self._client, "POST", f"{self._base_url}/{path}", secret=self._key, most=most, **request
            )
        except httpx.RequestError as error:
            raise lost_answer(self.name, error) from error
        if answer.status_code != 200:
            raise classify(self.name, answer, errors.RULES, retry_after=errors.retry_after(answer))
        return self._read(answer, model=order.model, most=most)

    async def poll(self, operation: Operation) -> Pending:
        """Never asked: there are no operations."""
        raise AssertionError(f"{self.name} has no operations")

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """There is nothing by which a call could be stopped."""
        return CancelOutcome.UNSUPPORTED

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    def _fields(self, order: Order) -> dict[str, Any]:
        request = self._entry.defaults.applied_to(order.request)
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

    def _read(self, answer: httpx.Response, *, model: str, most: int) -> Generated:
        listed = read_json(self.name, answer, most=most).get("data")
        found = [_source(one) for one in listed] if isinstance(listed, list) else []
        images = tuple(one for one in found if one is not None)
        if not images:
            raise ProviderError(
                code="UNKNOWN",
                reason="UNCLASSIFIED",
                message=f"{self.name} answered without an image.",
                retryable=False,
                # It was carried out, whatever came of it.
                acceptance=Acceptance.ACCEPTED,
                vendor=VendorError(http_status=200, request_id=answer.headers.get("x-request-id", "")[:200]),
            )
        price = self._entry.price_of(model)
        return Generated(images=images, cost_micros=None if price is None else price * len(images))


def _files(order: Order) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The images in their order; the mask, where there is one, comes last among the inputs."""
    has_mask = any(image.index < 0 for image in order.request.inputs)
    pictures = order.inputs[:-1] if has_mask else order.inputs
    files = [("image[]", _file(f"image-{number}", data)) for number, data in enumerate(pictures)]
    return [*files, ("mask", _file("mask", order.inputs[-1]))] if has_mask else files


def _file(name: str, data: bytes) -> tuple[str, bytes, str]:
    kind = next((kind for start, kind in _SIGNATURES if data.startswith(start)), "application/octet-stream")
    return f"{name}.{kind.rpartition('/')[2]}", data, kind


def _source(told: Any) -> ImageSource | None:
    if not isinstance(told, dict):
        return None
    words = told.get("revised_prompt")
    revised = words if isinstance(words, str) and words else None
    encoded, url = told.get("b64_json"), told.get("url")
    if isinstance(encoded, str) and encoded:
        return ImageSource(base64=encoded, revised_prompt=revised)
    return ImageSource(url=url, revised_prompt=revised) if isinstance(url, str) and url else None
