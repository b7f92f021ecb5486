"""The provider kind `fal`: requests to fal's queue, polled.

Contract: fal's public documentation. A request is put into the queue, then polled, read and canceled at the three URLs
that the response names; they cannot be built here, because they do not follow from the model's name. Small input images
are sent inside the request; larger ones are uploaded to fal's storage before.
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
    responses,
    uploads,
)
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import ProviderResponse
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
from services.generator.ports import ProviderRequest

BASE_URL = "https://queue.fal.run"
ADDRESSES = ("status_url", "response_url", "cancel_url")
LONGEST_ID, MAX_ADDRESS_CHARACTERS = 200, 2000
MAX_SEED = 2**63 - 1
#: Every model reads a URL; data URIs are for small files: https://fal.ai/docs/documentation/model-apis/fal-cdn
MAX_INLINE_BYTES = 1024 * 1024
#: Uploads are deleted after this time; a request waits in the queue for less.
KEPT_SECONDS = 24 * 3600


class FalProvider(RemoteProvider):
    """Submits, polls and cancels requests. The key is sent only to the host of `base_url`."""

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
        return provider_pb2.Capabilities(**model_inputs.offers(self._entry.settings), cancelable=True)

    def mask_form(self, model: str) -> MaskForm:
        """Returns the form of masks by the settings."""
        return model_inputs.mask_form(self._entry.settings)

    async def submit(self, provider_request: ProviderRequest) -> Operation:
        """Puts a request into the queue, without fal's own retries, which it would not report."""
        url = f"{self.base_url}/{model_names.path(self.name, provider_request.model, parts=range(1, 7))}"
        body = await self._input(provider_request)
        response = await self._send_paid("POST", url, json=body, headers={"x-fal-no-retry": "1"})
        if not response.is_success:
            raise errors.refusal(self.name, response)
        submission = read_json(self.name, response)
        request_id = submission.get("request_id")
        state = {name: self._own(str(submission.get(name, "")), instead="") for name in ADDRESSES}
        if not all(0 < len(address) <= MAX_ADDRESS_CHARACTERS for address in state.values()):
            raise self._foreign_address(response.evidence(request_id=str(request_id)))
        return operation_errors.named(
            self.name, request_id, state | {"model": provider_request.model}, vendor=response.evidence()
        )

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Reads a request's status, and its result when it is completed."""
        response = await self._send_free("GET", self._address(operation, "status_url"))
        if response.status_code not in (200, 202):
            raise errors.status_unknown(self.name, response)
        status = self._status(response)
        match status.get("status"):
            case "IN_QUEUE" | "IN_PROGRESS":
                return Pending()
            case "COMPLETED":
                return await self._result(operation, errors.failure_in(status))
            case _:
                what = operation_errors.UNKNOWN_STATUS
                raise operation_errors.unclassified(
                    self.name, what, acceptance=Acceptance.UNKNOWN, vendor=response.evidence()
                )

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Cancels a request; one that left the queue may run to its end."""
        response = await self._send_free("PUT", self._address(operation, "cancel_url"))
        if response.status_code == 404:
            return CancelOutcome.TOO_LATE
        if response.status_code not in (200, 202, 400):
            raise operation_errors.status_unknown(self.name, str(response.status_code))
        match self._status(response).get("status"):
            case "OK" if response.status_code == 200:
                return CancelOutcome.CONFIRMED
            case "CANCELLATION_REQUESTED" | "ALREADY_COMPLETED" | "NOT_FOUND":
                # If the request stops later, polling shows it.
                return CancelOutcome.TOO_LATE
            case other:
                raise operation_errors.status_unknown(
                    self.name, operation_errors.UNKNOWN_STATUS, vendor=operation_errors.status(other)
                )

    async def _input(self, provider_request: ProviderRequest) -> dict[str, Any]:
        request = self._entry.request_for(provider_request.model, provider_request.request)
        settings = self._entry.settings
        model_inputs.refuse_lost_images(self.name, provider_request, settings)
        attached = input_images.of_request(provider_request)
        images = [await self._address_of(data) for data in attached.images]
        mask = None if attached.mask is None else await self._address_of(attached.mask)
        fields = model_inputs.fields_of(provider_request, request, settings, images=images, mask=mask)
        if request.size and not settings.size_names:
            fields["size"] = {name: fields[name] for name in ("width", "height")}
        return model_inputs.input_of(fields, request, settings)

    async def _address_of(self, data: bytes) -> str:
        """Returns a URL or data URI under which a model can read an image."""
        storage = self._entry.storage_url
        if len(data) <= MAX_INLINE_BYTES or storage is None:
            return input_images.data_uri(data)
        with uploads.before_submission():
            return await self._upload(storage, data)

    async def _upload(self, storage: str, data: bytes) -> str:
        name, _, kind = input_images.file_of("image", data)
        kept = {"X-Fal-Object-Lifecycle": json.dumps({"expiration_duration_seconds": KEPT_SECONDS})}
        url = f"{storage}/storage/upload/initiate?storage_type=fal-cdn-v3"
        response = await self._send_paid("POST", url, json={"content_type": kind, "file_name": name}, headers=kept)
        if response.status_code not in (200, 201):
            raise errors.refusal(self.name, response)
        upload = read_json(self.name, response)
        put_at, read_at = (str(upload.get(name) or "") for name in ("upload_url", "file_url"))
        # Only https, unless the storage itself has none, on the operator's own machine.
        schemes = ("https://",) if storage.startswith("https:") else ("https://", "http://")
        if not all(item.startswith(schemes) and len(item) <= MAX_ADDRESS_CHARACTERS for item in (put_at, read_at)):
            raise operation_errors.unclassified(
                self.name, "an upload without an address", acceptance=Acceptance.UNKNOWN
            )
        stored = await self._send_without_key("PUT", put_at, content=data, headers={"Content-Type": kind})
        if stored.status_code not in (200, 201, 204):
            raise errors.refusal(self.name, stored)
        return read_at

    def _address(self, operation: Operation, name: str) -> str:
        """Returns the URL that the submission's response named. Raises `ProviderError` if it is not the API's."""
        address = self._own(operation.state.get(name, ""), instead="")
        if not address:
            raise self._foreign_address(VendorError(request_id=operation.id))
        return address

    def _foreign_address(self, vendor: VendorError) -> ProviderError:
        what = "an address that is not its own"
        return operation_errors.unclassified(self.name, what, acceptance=Acceptance.UNKNOWN, vendor=vendor)

    def _status(self, response: ProviderResponse) -> Mapping[str, Any]:
        try:
            return read_json(self.name, response)
        except ProviderError as error:
            raise operation_errors.status_unknown(self.name, "no status", vendor=error.vendor) from error

    async def _result(self, operation: Operation, failure: str | None) -> Generated:
        """Fetches the result of a completed request; `failure` is the error in its status, None for a success."""
        limit = responses.max_bytes(self.max_images_per_call)
        if failure == errors.CANCELED:
            raise operation_errors.stopped(self.name)
        response = await self._send_free("GET", self._address(operation, "response_url"), limit=limit)
        if response.status_code != 200:
            raise errors.failed(self.name, response, failure, request_id=operation.id)
        if response.is_cut:
            raise operation_errors.unclassified(
                self.name, "too much", acceptance=Acceptance.ACCEPTED, vendor=response.evidence()
            )
        try:
            output = read_json(self.name, response)
        except ProviderError as error:
            raise operation_errors.status_unknown(self.name, "no result", vendor=error.vendor) from error
        return self._read(operation, response, output)

    def _read(self, operation: Operation, response: ProviderResponse, output: Mapping[str, Any]) -> Generated:
        flags = output.get("has_nsfw_concepts")
        if isinstance(flags, list) and any(flag is True for flag in flags):
            raise errors.flagged(self.name, operation.id)
        images = listed_images.read(output.get("images", [output.get("image")]), lambda item: _source(item, response))
        if not images:
            raise errors.no_image(self.name, response, output, request_id=operation.id)
        seed = output.get("seed")
        # It is the seed of the call; with several images it would fit only the first.
        if type(seed) is int and 0 <= seed <= MAX_SEED and len(images) == 1:
            images = (replace(images[0], seed=seed),)
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))


def _source(image: Any, response: ProviderResponse) -> ImageSource | None:
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str) or not url:
        return None
    return ImageSource(base64=url) if url.startswith("data:") else ImageSource(url=response.address(url))
