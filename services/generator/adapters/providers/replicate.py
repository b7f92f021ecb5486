"""The provider kind `replicate`: predictions over HTTP, polled; wire contract from Replicate's public OpenAPI document.

A prediction is created, followed at the address that its answer names, and stopped there. Results are URLs that live
for an hour.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.provider_file import ProviderEntry
from services.generator.adapters.providers.http_errors import Rule, classify, lost_answer, read_json
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

BASE_URL = "https://api.replicate.com/v1"
#: The provider's own deadline for a prediction is at least five seconds.
SHORTEST_DEADLINE = 5
_REFUSED = re.compile(r"nsfw|safety|flagged|sensitive|moderat", re.IGNORECASE)
_PASSING = re.compile(r"out of memory|interrupted|please retry", re.IGNORECASE)
_THROTTLED = re.compile(r"resets in ~?(\d+)\s*s")

#: In the order of specificity; all of them are answers to a request that was not taken.
CREATE_RULES = (
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
)


class ReplicateProvider:
    """Submits, polls and cancels predictions. The key is sent to `base_url`'s own host alone."""

    traits = Traits(free=False, idempotent=False, resumable=True)

    def __init__(
        self, entry: ProviderEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        base_url = (entry.base_url or BASE_URL).rstrip("/")
        parts = urlsplit(base_url)
        self.name = entry.name
        self.timeout_seconds = entry.timeout_seconds
        self.poll_interval_seconds = entry.poll_interval_seconds
        self.allow_private_addresses = entry.allow_private_addresses
        self.trusted_host: str | None = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self.max_images_per_call = int(entry.settings.get("max_images_per_call", 1))
        self._entry = entry
        self._base_url = base_url
        self._client = httpx.AsyncClient(
            transport=transport or httpx.AsyncHTTPTransport(retries=0),
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": "calotype"},
            timeout=httpx.Timeout(30.0, connect=10.0),
            follow_redirects=False,
            trust_env=False,
        )

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """The entry of the catalogue: what the model takes is named in `settings.inputs`."""
        inputs = self._inputs
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
                aspect_ratios=self._entry.settings.get("aspect_ratios", ["1:1", "16:9", "9:16", "4:3", "3:4"])
                if "aspect_ratio" in inputs
                else [],
                output_formats=self._entry.settings.get("output_formats", ["png", "webp"])
                if "output_format" in inputs
                else [],
                seed="seed" in inputs,
                negative_prompt="negative_prompt" in inputs,
                resumable=True,
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
        try:
            answer = await self._client.post(
                f"{self._base_url}{path}", json=body, headers={"Cancel-After": f"{deadline}s"}
            )
        except httpx.TransportError as error:
            raise lost_answer(self.name, error) from error
        if answer.status_code not in (200, 201, 202):
            raise classify(self.name, answer, CREATE_RULES, retry_after=_throttled_seconds(answer))
        prediction = read_json(self.name, answer)
        urls = prediction.get("urls")
        if not isinstance(prediction.get("id"), str) or not isinstance(urls, dict):
            raise _unclassified(self.name, "a prediction without id", acceptance=Acceptance.UNKNOWN)
        state = {name: str(urls[name]) for name in ("get", "cancel") if name in urls}
        return Operation(id=prediction["id"], state=state | {"model": order.model, "count": str(order.count)})

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how a prediction stands."""
        try:
            answer = await self._client.get(self._own(operation, "get"))
        except httpx.TransportError as error:
            raise _not_told(self.name, type(error).__name__) from error
        if answer.status_code in (404, 410):
            raise _gone(self.name)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _not_told(self.name, str(answer.status_code))
        if answer.status_code != 200:
            refusal = classify(self.name, answer, CREATE_RULES)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        return self._read(operation, read_json(self.name, answer))

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Ask for a prediction to be stopped; its end is seen by polling."""
        try:
            answer = await self._client.post(self._own(operation, "cancel"))
        except httpx.TransportError as error:
            raise _not_told(self.name, type(error).__name__) from error
        if answer.status_code in (200, 201, 202, 204):
            stopped = answer.content and read_json(self.name, answer).get("status") == "canceled"
            return CancelOutcome.CONFIRMED if stopped or not answer.content else CancelOutcome.TOO_LATE
        if answer.status_code in (404, 409, 410, 422):
            return CancelOutcome.TOO_LATE
        raise _not_told(self.name, str(answer.status_code))

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    @property
    def _inputs(self) -> Mapping[str, str]:
        """Which field of a request goes into which input of the model."""
        standard = {
            "prompt": "prompt",
            "seed": "seed",
            "aspect_ratio": "aspect_ratio",
            "output_format": "output_format",
        }
        named: Mapping[str, str] = self._entry.settings.get("inputs", standard)
        return named

    def _prediction(self, order: Order) -> tuple[str, dict[str, Any]]:
        request = order.request
        fields = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "seed": order.seed,
            "aspect_ratio": request.aspect_ratio,
            "output_format": request.output_format,
            "n": order.count if self.max_images_per_call > 1 else None,
        }
        given = {
            self._inputs[name]: value for name, value in fields.items() if value is not None and name in self._inputs
        }
        body: dict[str, Any] = {"input": {**self._entry.defaults, **request.options, **given}}
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
        return f"{self._base_url}/predictions/{operation.id}{suffix}"

    def _read(self, operation: Operation, prediction: Mapping[str, Any]) -> Generated | Pending:
        match prediction.get("status"):
            case "starting" | "processing":
                return Pending()
            case "succeeded":
                return self._result(operation, prediction)
            case "canceled" | "aborted":
                raise _canceled(self.name)
            case "failed":
                raise self._failure(prediction)
            case other:
                raise _unclassified(self.name, f"the status {other!r}", acceptance=Acceptance.ACCEPTED)

    def _result(self, operation: Operation, prediction: Mapping[str, Any]) -> Generated:
        output = prediction.get("output")
        urls = [output] if isinstance(output, str) else output
        if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
            raise _unclassified(self.name, "a success without images", acceptance=Acceptance.ACCEPTED)
        price = self._entry.price_of(operation.state.get("model", ""))
        sources = tuple(ImageSource(url=url) for url in urls)
        return Generated(images=sources, cost_micros=None if price is None else price * len(sources))

    def _failure(self, prediction: Mapping[str, Any]) -> ProviderError:
        words = str(prediction.get("error") or "")[:2000]
        vendor = VendorError(http_status=200, code="failed", message=words, request_id=str(prediction.get("id", "")))
        if _REFUSED.search(words):
            code, reason, retryable = "PERMANENT", "CONTENT_POLICY", False
            message = f"{self.name} refused this request by its content policy."
        elif _PASSING.search(words):
            code, reason, retryable = "TEMPORARY", "PROVIDER_UNAVAILABLE", True
            message = f"{self.name} could not finish this time."
        else:
            code, reason, retryable = "PERMANENT", "PROVIDER_REJECTED", False
            message = f"{self.name} could not make this picture."
        return ProviderError(
            code=code,
            reason=reason,
            message=message,
            retryable=retryable,
            acceptance=Acceptance.ACCEPTED,
            vendor=vendor,
        )


def _throttled_seconds(answer: httpx.Response) -> float | None:
    found = _THROTTLED.search(answer.text[:2000])
    return float(found.group(1)) if found else None


def _not_told(name: str, what: str) -> ProviderError:
    """The operation goes on, only its state was not told."""
    return ProviderError(
        code="TEMPORARY",
        reason="PROVIDER_UNAVAILABLE",
        message=f"{name} does not tell how the operation stands ({what}).",
        retryable=True,
        acceptance=Acceptance.UNKNOWN,
    )


def _gone(name: str) -> ProviderError:
    return ProviderError(
        code="TIMEOUT",
        reason="RESULT_LOST",
        message=f"{name} no longer knows this operation; its result is lost.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
    )


def _canceled(name: str) -> ProviderError:
    return ProviderError(
        code="TIMEOUT",
        reason="PROVIDER_CANCELED",
        message=f"{name} stopped the operation before it was done.",
        retryable=True,
        acceptance=Acceptance.ACCEPTED,
    )


def _unclassified(name: str, what: str, *, acceptance: Acceptance) -> ProviderError:
    return ProviderError(
        code="UNKNOWN",
        reason="UNCLASSIFIED",
        message=f"{name} answered with {what}.",
        retryable=False,
        acceptance=acceptance,
    )
