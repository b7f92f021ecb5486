"""The provider kind `generic`: vendors that are described by settings alone; asked once, or polled.

The key goes to `base_url` alone: an answer may name a path of it to be polled, and never a host.
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
from services.generator.adapters.providers.http import listed_images, model_names, operation_errors
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import ANSWER_SECONDS, RemoteProvider
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain import foreign_text
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
from services.generator.ports import Order

#: An answer may hold its images: so much for the largest, and so much more for each.
MOST_ANSWER, MOST_PER_IMAGE = 80 * 1024 * 1024, 12 * 1024 * 1024
#: More images than any call can ask for are not looked at.
MOST_IMAGES = 16
LARGEST_SEED = 2**63 - 1


class GenericProvider(RemoteProvider):
    """Submits, polls and cancels as the settings say. The key is sent to `base_url` alone."""

    traits = Traits(free=False, idempotent=False, resumable=True)

    def __init__(self, entry: GenericEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        settings = entry.settings
        polled = settings.operation is not None
        shown = f"{settings.auth.scheme} {api_key}".strip()
        super().__init__(
            entry,
            base_url="",
            credential={**settings.headers, settings.auth.header: shown},
            api_key=api_key,
            transport=transport,
            answer_seconds=ANSWER_SECONDS if polled else entry.timeout_seconds,
        )
        self.traits = Traits(free=False, idempotent=False, resumable=polled)
        self.max_images_per_call = settings.max_images_per_call
        self._entry = entry
        self._settings = settings
        self._errors = ErrorMap(entry.name, settings)
        self._most = MOST_ANSWER + MOST_PER_IMAGE * settings.max_images_per_call

    def _capabilities(self) -> provider_pb2.Capabilities:
        settings, fields = self._settings, self._settings.submit.fields
        any_size = settings.takes_size and not settings.sizes
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
        """It is not known which is read."""
        return MaskForm.TWO_WAY

    async def submit(self, order: Order) -> Generated | Operation:
        """Send the request, and read the images or the operation of its answer."""
        request = self._entry.request_for(order.model, order.request)
        path = self._settings.submit.path
        if "{model}" in path:
            path = path.replace("{model}", model_names.path(self.name, order.model, parts=range(1, 8)))
        url = f"{self.base_url}{path}"
        answer = await self._buy("POST", url, most=self._most, **body.request_of(self._settings, order, request))
        if answer.status_code not in (200, 201, 202):
            raise self._errors.refusal(answer)
        told = read_json(self.name, answer)
        state = {"model": order.model, "url": url}
        if self._settings.operation is not None:
            return self._named(answer, told, state)
        if self._errors.is_failure(answer, told):
            raise self._errors.refusal(answer)
        looked = self._read(Operation(id="", state=state), answer, told)
        if isinstance(looked, Pending):
            raise self._errors.no_image(answer, "a request that is not done, and nothing to be polled")
        return looked

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how an operation stands."""
        url = self._place(operation)
        answer = await self._ask("GET", url, most=self._most)
        if answer.status_code in (404, 410):
            raise operation_errors.gone(self.name)
        if answer.status_code not in (200, 202):
            refusal = self._errors.refusal(answer)
            if answer.status_code == 429 or answer.status_code >= 500:
                told = str(answer.status_code)
                raise operation_errors.not_told(self.name, told, retry_after=refusal.retry_after_seconds)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        try:
            seen = read_json(self.name, answer)
        except ProviderError as error:
            raise operation_errors.not_told(self.name, "no status", vendor=error.vendor) from error
        return self._read(operation, answer, seen)

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Ask for an operation to be stopped; it is where the settings say that the answer means so."""
        cancel = self._settings.cancel
        if cancel is None:
            return CancelOutcome.UNSUPPORTED
        answer = await self._ask(cancel.method, f"{self.base_url}{_filled(cancel.path, operation.id)}")
        if answer.status_code in cancel.confirmed:
            return CancelOutcome.CONFIRMED
        if answer.status_code == 429 or answer.status_code >= 500:
            raise operation_errors.not_told(self.name, str(answer.status_code))
        return CancelOutcome.TOO_LATE

    def _named(self, answer: Answer, told: Mapping[str, Any], state: Mapping[str, str]) -> Operation:
        settings = self._settings.operation
        assert settings is not None
        named = next((str(one) for one in dotted_paths.found(told, settings.id) if type(one) in (str, int)), "")
        if not foreign_text.is_name(named):
            # It may say with a status of success that it has taken nothing.
            raise self._errors.refusal(answer)
        if settings.address is None:
            return operation_errors.named(self.name, named, state)
        address = next((one for one in dotted_paths.found(told, settings.address) if isinstance(one, str)), "")
        own = self._own(urljoin(state["url"], address) if address else "", instead="")
        if not foreign_text.is_name(own):
            raise self._astray(answer, named)
        return operation_errors.named(self.name, named, {**state, "url": own})

    def _place(self, operation: Operation) -> str:
        """Where to look. Raises `ProviderError` where that is not the API any more."""
        if self._settings.poll is not None:
            return f"{self.base_url}{_filled(self._settings.poll.path, operation.id)}"
        address = self._own(operation.state.get("url", ""), instead="")
        if not address:
            raise operation_errors.unclassified(
                self.name, "an address that is not its own", acceptance=Acceptance.UNKNOWN
            )
        return address

    def _astray(self, answer: Answer, named: str) -> ProviderError:
        error = operation_errors.unclassified(
            self.name, "an address that is not its own", acceptance=Acceptance.UNKNOWN
        )
        error.vendor = answer.evidence(request_id=named)
        return error

    def _read(self, operation: Operation, answer: Answer, told: Mapping[str, Any]) -> Generated | Pending:
        status = self._settings.status
        if status is None:
            return self._result(operation, answer, told)
        word = next((str(one) for one in dotted_paths.found(told, status.path) if type(one) in (str, int)), "")
        match status.meaning(word):
            case "pending":
                return Pending()
            case "done":
                return self._result(operation, answer, told)
            case "failed":
                raise self._errors.failure(answer, told, ended=word, request_id=operation.id)
            case "refused":
                raise self._errors.refused(answer, ended=word, request_id=operation.id)
            case "canceled":
                raise operation_errors.stopped(self.name)
        what = f"the status {word[:100]!r}" if word else "no status"
        error = operation_errors.unclassified(self.name, what, acceptance=Acceptance.UNKNOWN)
        error.vendor = answer.evidence(code=word, request_id=operation.id or None)
        raise error

    def _result(self, operation: Operation, answer: Answer, told: Mapping[str, Any]) -> Generated:
        result = self._settings.result
        flags = _listed(told, result.flagged)
        if any(flag is True for flag in flags):
            raise self._errors.refused(answer, ended=result.flagged or "", request_id=operation.id)
        listed = _listed(told, result.urls or result.base64)[:MOST_IMAGES]
        base = operation.state.get("url", "")
        images = listed_images.read(listed, lambda one: self._source(one, base=base))
        if not images:
            raise self._errors.no_image(answer, "a success without images", request_id=operation.id)
        seeds = _listed(told, result.seed)
        if len(seeds) == len(listed) and all(isinstance(one, str) and one for one in listed):
            images = tuple(replace(image, seed=_seed(seed)) for image, seed in zip(images, seeds, strict=True))
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))

    def _source(self, told: Any, *, base: str) -> ImageSource | None:
        if not isinstance(told, str):
            return None
        if self._settings.result.base64 is not None or told.startswith("data:"):
            return ImageSource(base64=told)
        try:
            return ImageSource(url=urljoin(base, told))
        except ValueError:
            return ImageSource(url=told)


def _listed(told: Any, path: str | None) -> list[Any]:
    """What is at a path, and in the list that is there; nothing where the settings name none."""
    values = dotted_paths.found(told, path) if path else []
    return [one for value in values for one in (value if isinstance(value, list) else [value])]


def _filled(path: str, operation_id: str) -> str:
    # Dots alone would be resolved as a way out of the folder.
    named = operation_id.replace(".", "%2E") if operation_id.strip(".") == "" else quote(operation_id, safe="")
    return path.replace("{id}", named)


def _seed(told: Any) -> int | None:
    """The seed that the vendor says it used, as a number or as its digits."""
    number = int(told) if isinstance(told, str) and told.isascii() and told.isdecimal() and len(told) < 20 else told
    return number if type(number) is int and 0 <= number <= LARGEST_SEED else None
