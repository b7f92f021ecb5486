"""The provider kind `replicate`: predictions over HTTP, polled; wire contract from Replicate's public OpenAPI document.

A prediction is created, followed at the address that its answer names, and stopped there. Results are URLs that live
for an hour.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.provider_entries import InputField, ReplicateEntry
from services.generator.adapters.providers import replicate_errors as errors
from services.generator.adapters.providers.http_errors import classify, exchange, lost_answer, read_json
from services.generator.domain.outcomes import (
    Acceptance,
    CancelOutcome,
    Generated,
    ImageSource,
    Operation,
    Pending,
    ProviderError,
)
from services.generator.domain.plan import Traits
from services.generator.ports import Order

BASE_URL = "https://api.replicate.com/v1"
#: Names of output formats, where they differ from ours.
FORMATS = {"jpeg": "jpg"}
#: The provider's own deadline for a prediction is at least five seconds.
SHORTEST_DEADLINE = 5


class ReplicateProvider:
    """Submits, polls and cancels predictions. The key is sent to `base_url`'s own host alone."""

    traits = Traits(free=False, idempotent=False, resumable=True)

    def __init__(
        self, entry: ReplicateEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
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
        self._buying = _client(api_key, transport, kept_alive=0)
        self._asking = _client(api_key, transport, kept_alive=20)

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """The entry of the catalogue: what the model takes is named in `settings.inputs`."""
        settings = self._entry.settings
        inputs = settings.inputs
        sized = "width" in inputs and "height" in inputs
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
                aspect_ratios=settings.aspect_ratios if "aspect_ratio" in inputs else (),
                min_side=settings.min_side if sized else 0,
                max_side=settings.max_side if sized else 0,
                side_multiple=settings.side_multiple if sized else 0,
                output_formats=settings.output_formats if "output_format" in inputs else (),
                qualities=settings.qualities if "quality" in inputs else (),
                seed="seed" in inputs,
                negative_prompt="negative_prompt" in inputs,
                resumable=self.traits.resumable,
                idempotent=self.traits.idempotent,
                free=self.traits.free,
                cancelable=True,
            ),
            max_concurrency=self._entry.max_concurrency,
            requests_per_minute=self._entry.requests_per_minute,
            timeout_seconds=int(self.timeout_seconds),
        )

    async def submit(self, order: Order) -> Operation:
        """Create a prediction."""
        path, body = self._prediction(order)
        deadline = max(int(self.timeout_seconds), SHORTEST_DEADLINE)
        told = {"Cancel-After": f"{deadline}s"}
        try:
            answer = await exchange(
                self._buying, "POST", f"{self._base_url}{path}", secret=self._key, json=body, headers=told
            )
        except httpx.RequestError as error:
            raise lost_answer(self.name, error) from error
        if answer.status_code not in (200, 201, 202):
            raise classify(self.name, answer, errors.CREATE_RULES, retry_after=errors.throttled_seconds(answer))
        prediction = read_json(self.name, answer)
        urls = prediction.get("urls")
        named = prediction.get("id")
        if not isinstance(named, str) or not named or not isinstance(urls, dict):
            raise errors.unclassified(self.name, "a prediction without id", acceptance=Acceptance.UNKNOWN)
        state = {name: str(urls[name]) for name in ("get", "cancel") if name in urls}
        state |= {"model": order.model, "count": str(order.count)}
        if order.seed is not None and order.count == 1 and "seed" in self._entry.settings.inputs:
            state["seed"] = str(order.seed)
        return Operation(id=named, state=state)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how a prediction stands."""
        try:
            answer = await exchange(self._asking, "GET", self._own(operation, "get"), secret=self._key)
        except httpx.RequestError as error:
            raise errors.not_told(self.name, type(error).__name__) from error
        if answer.status_code in (404, 410):
            raise errors.gone(self.name)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise errors.not_told(self.name, str(answer.status_code), retry_after=errors.throttled_seconds(answer))
        if answer.status_code != 200:
            refusal = classify(self.name, answer, errors.CREATE_RULES)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        try:
            prediction = read_json(self.name, answer)
        except ProviderError as error:
            raise errors.not_told(self.name, "no prediction") from error
        return self._read(operation, prediction)

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Ask for a prediction to be stopped; its end is seen by polling."""
        try:
            answer = await exchange(self._asking, "POST", self._own(operation, "cancel"), secret=self._key)
        except httpx.RequestError as error:
            raise errors.not_told(self.name, type(error).__name__) from error
        if answer.status_code in (200, 201, 202, 204):
            stopped = answer.content and read_json(self.name, answer).get("status") == "canceled"
            return CancelOutcome.CONFIRMED if stopped or not answer.content else CancelOutcome.TOO_LATE
        if answer.status_code in (404, 409, 410, 422):
            return CancelOutcome.TOO_LATE
        raise errors.not_told(self.name, str(answer.status_code))

    async def close(self) -> None:
        """Let go of connections."""
        await self._buying.aclose()
        await self._asking.aclose()

    def _prediction(self, order: Order) -> tuple[str, dict[str, Any]]:
        request = self._entry.defaults.applied_to(order.request)
        width, _, height = (request.size or "").partition("x")
        fields: dict[InputField, Any] = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "n": order.count if self.max_images_per_call > 1 else None,
            "seed": order.seed,
            "aspect_ratio": request.aspect_ratio,
            "width": int(width) if height else None,
            "height": int(height) if height else None,
            "output_format": FORMATS.get(request.output_format or "", request.output_format),
            "quality": request.quality,
        }
        inputs = self._entry.settings.inputs
        given = {inputs[name]: value for name, value in fields.items() if value is not None and name in inputs}
        body: dict[str, Any] = {"input": {**request.options, **given}}
        if ":" in order.model:
            return "/predictions", body | {"version": order.model.partition(":")[2]}
        return f"/models/{order.model}/predictions", body

    def _own(self, operation: Operation, name: str) -> str:
        """The address that the answer named, if it is the API's own: the key goes nowhere else."""
        named = urlsplit(operation.state.get(name, ""))
        own = urlsplit(self._base_url)
        if (named.scheme, named.netloc) == (own.scheme, own.netloc):
            return named.geturl()
        suffix = "" if name == "get" else "/cancel"
        return f"{self._base_url}/predictions/{quote(operation.id, safe='')}{suffix}"

    def _read(self, operation: Operation, prediction: Mapping[str, Any]) -> Generated | Pending:
        match prediction.get("status"):
            case "starting" | "processing":
                return Pending()
            case "succeeded":
                return self._result(operation, prediction)
            case "canceled" | "aborted":
                raise errors.stopped(self.name)
            case "failed":
                raise errors.failure_of(self.name, prediction)
            case other:
                raise errors.unclassified(self.name, f"the status {other!r}", acceptance=Acceptance.ACCEPTED)

    def _result(self, operation: Operation, prediction: Mapping[str, Any]) -> Generated:
        output = prediction.get("output")
        urls = [output] if isinstance(output, str) else output
        if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
            raise errors.unclassified(self.name, "a success without images", acceptance=Acceptance.ACCEPTED)
        price = self._entry.price_of(operation.state.get("model", ""))
        seed = operation.state.get("seed")
        echoed = int(seed) if seed is not None and seed.isdecimal() and len(urls) == 1 else None
        sources = tuple(ImageSource(url=url, seed=echoed) for url in urls)
        return Generated(images=sources, cost_micros=None if price is None else price * len(sources))


def _client(api_key: str, transport: httpx.AsyncBaseTransport | None, *, kept_alive: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=kept_alive)
    return httpx.AsyncClient(
        transport=transport or httpx.AsyncHTTPTransport(retries=0, limits=limits, trust_env=False),
        headers={"Authorization": f"Bearer {api_key}", "User-Agent": "calotype"},
        timeout=httpx.Timeout(30.0, connect=10.0),
        follow_redirects=False,
        trust_env=False,
    )
