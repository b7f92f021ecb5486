"""The provider kind `replicate`: predictions over HTTP, polled; wire contract from Replicate's public OpenAPI document.

A prediction is created, followed at the address that its answer names, and stopped there. Results are URLs that live
for an hour. Input images travel inside the request while they are small; larger ones are uploaded before.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.http import (
    listed_images,
    model_inputs,
    model_names,
    operation_errors,
    uploads,
)
from services.generator.adapters.providers.http.errors import classify, read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import Answer
from services.generator.adapters.providers.replicate import errors
from services.generator.adapters.providers.replicate.entry import MODEL, ReplicateEntry
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

BASE_URL = "https://api.replicate.com/v1"
#: Names of output formats, where they differ from ours.
FORMATS = {"jpeg": "jpg"}
#: The provider's own deadline for a prediction is at least five seconds.
SHORTEST_DEADLINE = 5
#: Larger pictures are uploaded: https://replicate.com/docs/reference/http#predictions.create
MOST_INLINE = 256 * 1024
LONGEST_ADDRESS = 2000


class ReplicateProvider(RemoteProvider):
    """Submits, polls and cancels predictions. The key is sent to `base_url`'s own host alone."""

    traits = Traits(free=False, idempotent=False, resumable=True)
    free_question = "account"

    def __init__(
        self, entry: ReplicateEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(
            entry,
            base_url=BASE_URL,
            credential={"Authorization": f"Bearer {api_key}"},
            api_key=api_key,
            transport=transport,
        )
        self.max_images_per_call = entry.settings.max_images_per_call
        self._entry = entry

    def _capabilities(self) -> provider_pb2.Capabilities:
        """What the model takes is named in `settings.inputs`."""
        return provider_pb2.Capabilities(**model_inputs.offers(self._entry.settings), cancelable=True)

    def mask_form(self, model: str) -> MaskForm:
        """As the entry says of its models."""
        return model_inputs.mask_form(self._entry.settings)

    async def submit(self, order: Order) -> Operation:
        """Create a prediction."""
        path, where = self._place(order.model)
        body = {**where, "input": await self._input(order)}
        deadline = max(int(self.timeout_seconds), SHORTEST_DEADLINE)
        told = {"Cancel-After": f"{deadline}s"}
        answer = await self._buy("POST", f"{self.base_url}{path}", json=body, headers=told)
        if not answer.is_success:
            raise classify(self.name, answer, errors.CREATE_RULES, retry_after=errors.throttled_seconds(answer))
        prediction = read_json(self.name, answer)
        urls = prediction.get("urls")
        addresses = urls if isinstance(urls, dict) else {}
        state = {name: str(addresses[name]) for name in ("get", "cancel") if name in addresses}
        state |= {"model": order.model, "count": str(order.count)}
        if order.seed is not None and order.count == 1 and "seed" in self._entry.settings.inputs:
            state["seed"] = str(order.seed)
        return operation_errors.named(self.name, prediction.get("id"), state, vendor=answer.evidence())

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how a prediction stands."""
        answer = await self._ask("GET", self._address(operation, "get"))
        if answer.status_code in (404, 410):
            raise operation_errors.gone(self.name)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise operation_errors.not_told(
                self.name, str(answer.status_code), retry_after=errors.throttled_seconds(answer)
            )
        if answer.status_code != 200:
            refusal = classify(self.name, answer, errors.CREATE_RULES)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        try:
            prediction = read_json(self.name, answer)
        except ProviderError as error:
            raise operation_errors.not_told(self.name, "no prediction", vendor=error.vendor) from error
        return self._read(operation, answer, prediction)

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Ask for a prediction to be stopped; its end is seen by polling."""
        answer = await self._ask("POST", self._address(operation, "cancel"))
        if answer.status_code in (200, 201, 202, 204):
            stopped = answer.content and read_json(self.name, answer).get("status") == "canceled"
            return CancelOutcome.CONFIRMED if stopped or not answer.content else CancelOutcome.TOO_LATE
        if answer.status_code in (404, 409, 410, 422):
            return CancelOutcome.TOO_LATE
        raise operation_errors.not_told(self.name, str(answer.status_code))

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Files that are the API's own want the key, as for its own client; what it delivers elsewhere does not."""
        return self._key_for_own(url) if url.startswith(f"{self.base_url}/files/") else {}

    async def _input(self, order: Order) -> dict[str, Any]:
        request = self._entry.request_for(order.model, order.request)
        settings = self._entry.settings
        model_inputs.refuse_lost_pictures(self.name, order, settings)
        brought = input_images.of_order(order)
        images = [await self._brought(data) for data in brought.images]
        mask = None if brought.mask is None else await self._brought(brought.mask)
        fields = model_inputs.fields_of(order, request, settings, images=images, mask=mask)
        fields["output_format"] = FORMATS.get(request.output_format or "", request.output_format)
        return model_inputs.input_of(fields, request, settings)

    async def _brought(self, data: bytes) -> str:
        """An address under which a model can read a picture."""
        if len(data) <= MOST_INLINE:
            return input_images.data_uri(data)
        with uploads.nothing_bought():
            files = {"content": input_images.file_of("image", data)}
            answer = await self._buy("POST", f"{self.base_url}/files", files=files)
            if answer.status_code not in (200, 201):
                raise classify(self.name, answer, errors.CREATE_RULES, retry_after=errors.throttled_seconds(answer))
            urls = read_json(self.name, answer).get("urls")
            address = urls.get("get") if isinstance(urls, dict) else None
            if not isinstance(address, str) or not 0 < len(address) <= LONGEST_ADDRESS:
                raise operation_errors.unclassified(
                    self.name, "an upload without an address", acceptance=Acceptance.UNKNOWN
                )
        return address

    def _place(self, model: str) -> tuple[str, dict[str, str]]:
        """Where a prediction of a model is made, and what its body says of the model."""
        found = MODEL.fullmatch(model)
        if found is None:
            raise model_names.unknown(self.name, model)
        if version := found["version"] or found["digits"]:
            return "/predictions", {"version": version}
        if found["deployment"]:
            return f"/{model}/predictions", {}
        return f"/models/{model}/predictions", {}

    def _address(self, operation: Operation, name: str) -> str:
        suffix = "" if name == "get" else "/cancel"
        usual = f"{self.base_url}/predictions/{quote(operation.id, safe='')}{suffix}"
        return self._own(operation.state.get(name, ""), instead=usual)

    def _read(self, operation: Operation, answer: Answer, prediction: Mapping[str, Any]) -> Generated | Pending:
        match prediction.get("status"):
            case "starting" | "processing":
                return Pending()
            case "succeeded":
                return self._result(operation, answer, prediction)
            case "canceled" | "aborted":
                raise operation_errors.stopped(self.name)
            case "failed":
                raise errors.failure_of(self.name, prediction)
            case _:
                raise operation_errors.unclassified(
                    self.name,
                    operation_errors.UNKNOWN_STATUS,
                    acceptance=Acceptance.ACCEPTED,
                    vendor=answer.evidence(),
                )

    def _result(self, operation: Operation, answer: Answer, prediction: Mapping[str, Any]) -> Generated:
        output = prediction.get("output")
        images = listed_images.read([output] if isinstance(output, str) else output, lambda one: _source(one, answer))
        if not images:
            raise operation_errors.unclassified(
                self.name, "a success without images", acceptance=Acceptance.ACCEPTED, vendor=answer.evidence()
            )
        seed = operation.state.get("seed")
        if seed is not None and seed.isdecimal() and len(images) == 1:
            images = (replace(images[0], seed=int(seed)),)
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))


def _source(told: Any, answer: Answer) -> ImageSource | None:
    return ImageSource(url=answer.address(told)) if isinstance(told, str) else None
