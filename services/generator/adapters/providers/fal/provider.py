"""The provider kind `fal`: requests to fal.ai's queue, polled; wire contract from the vendor's public documentation.

A request is put into the queue, and followed, read and stopped at the three addresses that the answer names; none of
them is made here, for they do not follow from the model's name. Input images travel inside the request while they are
small; larger ones are put into the vendor's storage before.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.fal import errors
from services.generator.adapters.providers.fal.entry import FalEntry
from services.generator.adapters.providers.http import (
    listed_images,
    model_inputs,
    model_names,
    operation_errors,
    uploads,
)
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import Answer
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
    VendorError,
)
from services.generator.ports import Order

BASE_URL = "https://queue.fal.run"
ADDRESSES = ("status_url", "response_url", "cancel_url")
LONGEST_ID, LONGEST_ADDRESS = 200, 2000
#: A result may hold its images as data URIs: so much for the largest, and so much more for each.
MOST_RESULT, MOST_PER_IMAGE = 80 * 1024 * 1024, 12 * 1024 * 1024
LARGEST_SEED = 2**63 - 1
#: Every model reads an address; data URIs are for small files: https://fal.ai/docs/documentation/model-apis/fal-cdn
MOST_INLINE = 1024 * 1024
#: What was uploaded is for the model alone: a request waits in the queue for less than that.
KEPT_SECONDS = 24 * 3600


class FalProvider(RemoteProvider):
    """Submits, polls and cancels requests. The key is sent to `base_url`'s own host alone."""

    traits = Traits(free=False, idempotent=False, resumable=True)

    def __init__(self, entry: FalEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(
            entry,
            base_url=BASE_URL,
            credential={"Authorization": f"Key {api_key}"},
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
        """Put a request into the queue. The vendor's own repeats, of which we would not hear, are declined."""
        url = f"{self.base_url}/{model_names.path(self.name, order.model, parts=range(1, 7))}"
        body = await self._input(order)
        answer = await self._buy("POST", url, json=body, headers={"x-fal-no-retry": "1"})
        if not answer.is_success:
            raise errors.refusal(self.name, answer)
        told = read_json(self.name, answer)
        named = told.get("request_id")
        state = {name: self._own(str(told.get(name, "")), instead="") for name in ADDRESSES}
        if not all(0 < len(address) <= LONGEST_ADDRESS for address in state.values()):
            raise self._astray(answer.evidence(request_id=str(named)))
        return operation_errors.named(self.name, named, state | {"model": order.model}, vendor=answer.evidence())

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how a request stands, and read its result when it is done."""
        answer = await self._ask("GET", self._address(operation, "status_url"))
        if answer.status_code not in (200, 202):
            raise errors.not_told(self.name, answer)
        told = self._told(answer)
        match told.get("status"):
            case "IN_QUEUE" | "IN_PROGRESS":
                return Pending()
            case "COMPLETED":
                return await self._result(operation, errors.failure_told(told))
            case _:
                what = operation_errors.UNKNOWN_STATUS
                raise operation_errors.unclassified(
                    self.name, what, acceptance=Acceptance.UNKNOWN, vendor=answer.evidence()
                )

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Ask for a request to be stopped: what was taken out of the queue is, and what runs may run on."""
        answer = await self._ask("PUT", self._address(operation, "cancel_url"))
        if answer.status_code == 404:
            return CancelOutcome.TOO_LATE
        if answer.status_code not in (200, 202, 400):
            raise operation_errors.not_told(self.name, str(answer.status_code))
        match self._told(answer).get("status"):
            case "OK" if answer.status_code == 200:
                return CancelOutcome.CONFIRMED
            case "CANCELLATION_REQUESTED" | "ALREADY_COMPLETED" | "NOT_FOUND":
                # A request that stops after all says so to whoever polls.
                return CancelOutcome.TOO_LATE
            case other:
                raise operation_errors.not_told(
                    self.name, operation_errors.UNKNOWN_STATUS, vendor=operation_errors.status(other)
                )

    async def _input(self, order: Order) -> dict[str, Any]:
        request = self._entry.request_for(order.model, order.request)
        settings = self._entry.settings
        model_inputs.refuse_lost_pictures(self.name, order, settings)
        brought = input_images.of_order(order)
        images = [await self._brought(data) for data in brought.images]
        mask = None if brought.mask is None else await self._brought(brought.mask)
        fields = model_inputs.fields_of(order, request, settings, images=images, mask=mask)
        if request.size and not settings.size_names:
            fields["size"] = {name: fields[name] for name in ("width", "height")}
        return model_inputs.input_of(fields, request, settings)

    async def _brought(self, data: bytes) -> str:
        """An address under which a model can read a picture."""
        storage = self._entry.storage_url
        if len(data) <= MOST_INLINE or storage is None:
            return input_images.data_uri(data)
        with uploads.nothing_bought():
            return await self._upload(storage, data)

    async def _upload(self, storage: str, data: bytes) -> str:
        name, _, kind = input_images.file_of("image", data)
        kept = {"X-Fal-Object-Lifecycle": json.dumps({"expiration_duration_seconds": KEPT_SECONDS})}
        url = f"{storage}/storage/upload/initiate?storage_type=fal-cdn-v3"
        answer = await self._buy("POST", url, json={"content_type": kind, "file_name": name}, headers=kept)
        if answer.status_code not in (200, 201):
            raise errors.refusal(self.name, answer)
        told = read_json(self.name, answer)
        put_at, read_at = (str(told.get(name) or "") for name in ("upload_url", "file_url"))
        # Over https, unless what is spoken to is not either: on the operator's own machine.
        schemes = ("https://",) if storage.startswith("https:") else ("https://", "http://")
        if not all(one.startswith(schemes) and len(one) <= LONGEST_ADDRESS for one in (put_at, read_at)):
            raise operation_errors.unclassified(
                self.name, "an upload without an address", acceptance=Acceptance.UNKNOWN
            )
        stored = await self._give("PUT", put_at, content=data, headers={"Content-Type": kind})
        if stored.status_code not in (200, 201, 204):
            raise errors.refusal(self.name, stored)
        return read_at

    def _address(self, operation: Operation, name: str) -> str:
        """Where the operation's own answer said. Raises `ProviderError` when that is not the API."""
        address = self._own(operation.state.get(name, ""), instead="")
        if not address:
            raise self._astray(VendorError(request_id=operation.id))
        return address

    def _astray(self, vendor: VendorError) -> ProviderError:
        what = "an address that is not its own"
        return operation_errors.unclassified(self.name, what, acceptance=Acceptance.UNKNOWN, vendor=vendor)

    def _told(self, answer: Answer) -> Mapping[str, Any]:
        try:
            return read_json(self.name, answer)
        except ProviderError as error:
            raise operation_errors.not_told(self.name, "no status", vendor=error.vendor) from error

    async def _result(self, operation: Operation, failure: str | None) -> Generated:
        """What a request that is done came to; `failure` is what its status said of one that failed."""
        most = MOST_RESULT + MOST_PER_IMAGE * self.max_images_per_call
        if failure == errors.CANCELED:
            raise operation_errors.stopped(self.name)
        answer = await self._ask("GET", self._address(operation, "response_url"), most=most)
        if answer.status_code != 200:
            raise errors.failed(self.name, answer, failure, request_id=operation.id)
        if answer.is_cut:
            raise operation_errors.unclassified(
                self.name, "too much", acceptance=Acceptance.ACCEPTED, vendor=answer.evidence()
            )
        try:
            output = read_json(self.name, answer)
        except ProviderError as error:
            raise operation_errors.not_told(self.name, "no result", vendor=error.vendor) from error
        return self._read(operation, answer, output)

    def _read(self, operation: Operation, answer: Answer, output: Mapping[str, Any]) -> Generated:
        flags = output.get("has_nsfw_concepts")
        if isinstance(flags, list) and any(flag is True for flag in flags):
            raise errors.flagged(self.name, operation.id)
        images = listed_images.read(output.get("images", [output.get("image")]), lambda one: _source(one, answer))
        if not images:
            raise errors.no_image(self.name, answer, output, request_id=operation.id)
        seed = output.get("seed")
        # It is the seed of the call: of several images, only the first could have it.
        if type(seed) is int and 0 <= seed <= LARGEST_SEED and len(images) == 1:
            images = (replace(images[0], seed=seed),)
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))


def _source(told: Any, answer: Answer) -> ImageSource | None:
    url = told.get("url") if isinstance(told, dict) else None
    if not isinstance(url, str) or not url:
        return None
    return ImageSource(base64=url) if url.startswith("data:") else ImageSource(url=answer.address(url))
