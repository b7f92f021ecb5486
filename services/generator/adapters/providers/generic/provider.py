"""The provider kind `generic`: APIs that only the settings describe; synchronous or polled.

The key goes only to the host of `base_url`: a response may name a path there to poll, and never another host.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urljoin

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers.generic import body, dotted_paths
from services.generator.adapters.providers.generic.entry import GenericEntry
from services.generator.adapters.providers.generic.errors import ErrorMap
from services.generator.adapters.providers.http import listed_images, model_names, operation_errors, responses
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import RESPONSE_SECONDS, RemoteProvider
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain import untrusted_text
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    ImageSource,
    Operation,
    Pending,
    ProviderError,
)
from services.generator.ports import ProviderRequest

#: Images of a response beyond this are ignored; no call can request more.
MAX_IMAGES = 16
MAX_SEED = 2**63 - 1


class GenericProvider(RemoteProvider):
    """Submits, polls and cancels as the settings describe. The key is sent only to `base_url`."""

    traits = Traits(free=False, idempotent=False, resumable=True)

    def __init__(self, entry: GenericEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        settings = entry.settings
        polled = settings.operation is not None
        header_value = f"{settings.auth.scheme} {api_key}".strip()
        super().__init__(
            entry,
            base_url="",
            credential={**settings.headers, settings.auth.header: header_value},
            api_key=api_key,
            transport=transport,
            response_seconds=RESPONSE_SECONDS if polled else entry.timeout_seconds,
        )
        self.traits = Traits(free=False, idempotent=False, resumable=polled)
        self.max_images_per_call = settings.max_images_per_call
        self._entry = entry
        self._settings = settings
        self._errors = ErrorMap(entry.name, settings)
        self._max_response_bytes = responses.max_bytes(settings.max_images_per_call)

    def _capabilities(self) -> provider_pb2.Capabilities:
        settings, fields = self._settings, self._settings.submit.fields
        any_size = settings.accepts_size and not settings.sizes
        return provider_pb2.Capabilities(
            sizes=settings.sizes,
            min_side=settings.min_side if any_size else 0,
            max_side=settings.max_side if any_size else 0,
            side_multiple=settings.side_multiple if any_size else 0,
            aspect_ratios=settings.aspect_ratios,
            qualities=settings.qualities,
            output_formats=settings.output_formats,
            seed="seed" in fields,
            negative_prompt="negative_prompt" in fields,
            max_input_images=settings.max_input_images,
            mask="mask" in fields,
            max_prompt_characters=settings.max_prompt_characters,
            cancelable=settings.cancel is not None,
        )

    def mask_form(self, model: str) -> MaskForm:
        """Returns TWO_WAY, because it is unknown which form the API reads."""
        return MaskForm.TWO_WAY

    async def submit(self, provider_request: ProviderRequest) -> Generated | Operation:
        """Sends the request and reads the images or the operation in its response."""
        request = self._entry.request_for(provider_request.model, provider_request.request)
        path = self._settings.submit.path
        if "{model}" in path:
            path = path.replace("{model}", model_names.path(self.name, provider_request.model, parts=range(1, 8)))
        url = f"{self.base_url}{path}"
        response = await self._send_paid(
            "POST", url, limit=self._max_response_bytes, **body.request_of(self._settings, provider_request, request)
        )
        if response.status_code not in (200, 201, 202):
            raise self._errors.refusal(response)
        content = read_json(self.name, response)
        state = {"model": provider_request.model, "url": url}
        if self._settings.operation is not None:
            return self._named(response, content, state)
        if self._errors.is_failure(response, content):
            raise self._errors.refusal(response)
        outcome = self._read(Operation(id="", state=state), response, content)
        if isinstance(outcome, Pending):
            raise self._errors.no_image(response, "a pending status, and settings.operation is not configured")
        return outcome

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Reads an operation's status, and its images when it is done."""
        url = self._poll_url(operation)
        response = await self._send_free("GET", url, limit=self._max_response_bytes)
        if response.status_code in (404, 410):
            raise operation_errors.lost(self.name)
        if response.status_code not in (200, 202):
            refusal = self._errors.refusal(response)
            if response.status_code == 429 or response.status_code >= 500:
                status = str(response.status_code)
                raise operation_errors.status_unknown(self.name, status, retry_after=refusal.retry_after_seconds)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        try:
            content = read_json(self.name, response)
        except ProviderError as error:
            raise operation_errors.status_unknown(self.name, "no status", vendor=error.vendor) from error
        return self._read(operation, response, content)

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Cancels an operation; it is stopped if the settings list the response's status as a confirmation."""
        cancel = self._settings.cancel
        if cancel is None:
            return CancelOutcome.UNSUPPORTED
        response = await self._send_free(cancel.method, f"{self.base_url}{_filled(cancel.path, operation.id)}")
        if response.status_code in cancel.confirmed:
            return CancelOutcome.CONFIRMED
        if response.status_code == 429 or response.status_code >= 500:
            raise operation_errors.status_unknown(self.name, str(response.status_code))
        return CancelOutcome.TOO_LATE

    def _named(self, response: ProviderResponse, content: Mapping[str, Any], state: Mapping[str, str]) -> Operation:
        settings = self._settings.operation
        assert settings is not None
        named = next(
            (str(item) for item in dotted_paths.values_at(content, settings.id) if type(item) in (str, int)), ""
        )
        if not untrusted_text.is_name(named):
            # A 2xx response may say that nothing was accepted.
            raise self._errors.refusal(response)
        if settings.address is None:
            return operation_errors.named(self.name, named, state)
        address = next(
            (item for item in dotted_paths.values_at(content, settings.address) if isinstance(item, str)), ""
        )
        own = self._own(urljoin(state["url"], address) if address else "", instead="")
        if not untrusted_text.is_name(own):
            raise self._foreign_address(response, named)
        return operation_errors.named(self.name, named, {**state, "url": own})

    def _poll_url(self, operation: Operation) -> str:
        """Returns the URL to poll. Raises `ProviderError` if its host is no longer that of `base_url`."""
        if self._settings.poll is not None:
            return f"{self.base_url}{_filled(self._settings.poll.path, operation.id)}"
        address = self._own(operation.state.get("url", ""), instead="")
        if not address:
            raise operation_errors.unclassified(
                self.name, "an address that is not its own", acceptance=Acceptance.UNKNOWN
            )
        return address

    def _foreign_address(self, response: ProviderResponse, named: str) -> ProviderError:
        error = operation_errors.unclassified(
            self.name, "an address that is not its own", acceptance=Acceptance.UNKNOWN
        )
        error.vendor = response.evidence(request_id=named)
        return error

    def _read(
        self, operation: Operation, response: ProviderResponse, content: Mapping[str, Any]
    ) -> Generated | Pending:
        status = self._settings.status
        if status is None:
            return self._result(operation, response, content)
        word = next(
            (str(item) for item in dotted_paths.values_at(content, status.path) if type(item) in (str, int)), ""
        )
        match status.meaning(word):
            case "pending":
                return Pending()
            case "done":
                return self._result(operation, response, content)
            case "failed":
                raise self._errors.failure(response, content, ended=word, request_id=operation.id)
            case "refused":
                raise self._errors.refused(response, ended=word, request_id=operation.id)
            case "canceled":
                raise operation_errors.stopped(self.name)
        what = f"the status {word[:100]!r}" if word else "no status"
        error = operation_errors.unclassified(self.name, what, acceptance=Acceptance.UNKNOWN)
        error.vendor = response.evidence(code=word, request_id=operation.id or None)
        raise error

    def _result(self, operation: Operation, response: ProviderResponse, content: Mapping[str, Any]) -> Generated:
        result = self._settings.result
        flags = _listed(content, result.flagged)
        if any(flag is True for flag in flags):
            raise self._errors.refused(response, ended=result.flagged or "", request_id=operation.id)
        listed = _listed(content, result.urls or result.base64)[:MAX_IMAGES]
        base = operation.state.get("url", "")
        images = listed_images.read(listed, lambda item: self._source(item, base=base))
        if not images:
            raise self._errors.no_image(response, "a success without images", request_id=operation.id)
        seeds = _listed(content, result.seed)
        if len(seeds) == len(listed) and all(isinstance(item, str) and item for item in listed):
            images = tuple(replace(image, seed=_seed(seed)) for image, seed in zip(images, seeds, strict=True))
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))

    def _source(self, content: Any, *, base: str) -> ImageSource | None:
        if not isinstance(content, str):
            return None
        if self._settings.result.base64 is not None or content.startswith("data:"):
            return ImageSource(base64=content)
        try:
            return ImageSource(url=urljoin(base, content))
        except ValueError:
            return ImageSource(url=content)


def _listed(content: Any, path: str | None) -> list[Any]:
    """Returns the values at a path, with the items of a list there; nothing without a path."""
    values = dotted_paths.values_at(content, path) if path else []
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _filled(path: str, operation_id: str) -> str:
    # An id of dots alone would be resolved as a parent folder.
    named = operation_id.replace(".", "%2E") if operation_id.strip(".") == "" else quote(operation_id, safe="")
    return path.replace("{id}", named)


def _seed(content: Any) -> int | None:
    """Returns the seed that the response reports, as a number or as digits; None if it is none."""
    number = (
        int(content)
        if isinstance(content, str) and content.isascii() and content.isdecimal() and len(content) < 20
        else content
    )
    return number if type(number) is int and 0 <= number <= MAX_SEED else None
