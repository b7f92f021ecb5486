"""The provider kind `replicate`: predictions over HTTP, polled.

Contract: Replicate's public OpenAPI document. A prediction is created, then polled and canceled at the URLs that its
response names. Results are URLs that are valid for an hour. Small input images are sent inside the request; larger ones
are uploaded before.
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
from services.generator.adapters.providers.http.responses import ProviderResponse
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
from services.generator.ports import ProviderRequest

BASE_URL = "https://api.replicate.com/v1"
#: Replicate's names of output formats that differ from ours.
FORMATS = {"jpeg": "jpg"}
#: Seconds; Replicate accepts no shorter deadline for a prediction.
SHORTEST_DEADLINE = 5
#: Larger images are uploaded: https://replicate.com/docs/reference/http#predictions.create
MAX_INLINE_BYTES = 256 * 1024
MAX_ADDRESS_CHARACTERS = 2000


class ReplicateProvider(RemoteProvider):
    """Submits, polls and cancels predictions. The key is sent only to the host of `base_url`."""

    traits = Traits(free=False, idempotent=False, resumable=True)
    check_path = "account"

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
        return provider_pb2.Capabilities(**model_inputs.offers(self._entry.settings), cancelable=True)

    def mask_form(self, model: str) -> MaskForm:
        """Returns the form of masks by the settings."""
        return model_inputs.mask_form(self._entry.settings)

    async def submit(self, provider_request: ProviderRequest) -> Operation:
        """Creates a prediction."""
        path, model_fields = self._endpoint(provider_request.model)
        body = {**model_fields, "input": await self._input(provider_request)}
        deadline = max(int(self.timeout_seconds), SHORTEST_DEADLINE)
        headers = {"Cancel-After": f"{deadline}s"}
        response = await self._send_paid("POST", f"{self.base_url}{path}", json=body, headers=headers)
        if not response.is_success:
            raise classify(self.name, response, errors.CREATE_RULES, retry_after=errors.throttled_seconds(response))
        prediction = read_json(self.name, response)
        urls = prediction.get("urls")
        addresses = urls if isinstance(urls, dict) else {}
        state = {name: str(addresses[name]) for name in ("get", "cancel") if name in addresses}
        state |= {"model": provider_request.model, "count": str(provider_request.count)}
        if provider_request.seed is not None and provider_request.count == 1 and "seed" in self._entry.settings.inputs:
            state["seed"] = str(provider_request.seed)
        return operation_errors.named(self.name, prediction.get("id"), state, vendor=response.evidence())

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Reads a prediction's status, and its images when it succeeded."""
        response = await self._send_free("GET", self._address(operation, "get"))
        if response.status_code in (404, 410):
            raise operation_errors.lost(self.name)
        if response.status_code == 429 or response.status_code >= 500:
            raise operation_errors.status_unknown(
                self.name, str(response.status_code), retry_after=errors.throttled_seconds(response)
            )
        if response.status_code != 200:
            refusal = classify(self.name, response, errors.CREATE_RULES)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        try:
            prediction = read_json(self.name, response)
        except ProviderError as error:
            raise operation_errors.status_unknown(self.name, "no prediction", vendor=error.vendor) from error
        return self._read(operation, response, prediction)

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Cancels a prediction; if it does not stop at once, polling shows its end."""
        response = await self._send_free("POST", self._address(operation, "cancel"))
        if response.status_code in (200, 201, 202, 204):
            stopped = response.content and read_json(self.name, response).get("status") == "canceled"
            return CancelOutcome.CONFIRMED if stopped or not response.content else CancelOutcome.TOO_LATE
        if response.status_code in (404, 409, 410, 422):
            return CancelOutcome.TOO_LATE
        raise operation_errors.status_unknown(self.name, str(response.status_code))

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Returns the key for files of the API itself, as Replicate's own client does; none for other URLs."""
        return self._key_for_own(url) if url.startswith(f"{self.base_url}/files/") else {}

    async def _input(self, provider_request: ProviderRequest) -> dict[str, Any]:
        request = self._entry.request_for(provider_request.model, provider_request.request)
        settings = self._entry.settings
        model_inputs.refuse_lost_images(self.name, provider_request, settings)
        attached = input_images.of_request(provider_request)
        images = [await self._address_of(data) for data in attached.images]
        mask = None if attached.mask is None else await self._address_of(attached.mask)
        fields = model_inputs.fields_of(provider_request, request, settings, images=images, mask=mask)
        fields["output_format"] = FORMATS.get(request.output_format or "", request.output_format)
        return model_inputs.input_of(fields, request, settings)

    async def _address_of(self, data: bytes) -> str:
        """Returns a URL or data URI under which a model can read an image."""
        if len(data) <= MAX_INLINE_BYTES:
            return input_images.data_uri(data)
        with uploads.before_submission():
            files = {"content": input_images.file_of("image", data)}
            response = await self._send_paid("POST", f"{self.base_url}/files", files=files)
            if response.status_code not in (200, 201):
                raise classify(self.name, response, errors.CREATE_RULES, retry_after=errors.throttled_seconds(response))
            urls = read_json(self.name, response).get("urls")
            address = urls.get("get") if isinstance(urls, dict) else None
            if not isinstance(address, str) or not 0 < len(address) <= MAX_ADDRESS_CHARACTERS:
                raise operation_errors.unclassified(
                    self.name, "an upload without an address", acceptance=Acceptance.UNKNOWN
                )
        return address

    def _endpoint(self, model: str) -> tuple[str, dict[str, str]]:
        """Returns the path that creates a model's predictions, and the body's fields that name the model."""
        match = MODEL.fullmatch(model)
        if match is None:
            raise model_names.unknown(self.name, model)
        if version := match["version"] or match["digits"]:
            return "/predictions", {"version": version}
        if match["deployment"]:
            return f"/{model}/predictions", {}
        return f"/models/{model}/predictions", {}

    def _address(self, operation: Operation, name: str) -> str:
        suffix = "" if name == "get" else "/cancel"
        usual = f"{self.base_url}/predictions/{quote(operation.id, safe='')}{suffix}"
        return self._own(operation.state.get(name, ""), instead=usual)

    def _read(
        self, operation: Operation, response: ProviderResponse, prediction: Mapping[str, Any]
    ) -> Generated | Pending:
        match prediction.get("status"):
            case "starting" | "processing":
                return Pending()
            case "succeeded":
                return self._result(operation, response, prediction)
            case "canceled" | "aborted":
                raise operation_errors.stopped(self.name)
            case "failed":
                raise errors.failure_of(self.name, prediction)
            case _:
                raise operation_errors.unclassified(
                    self.name,
                    operation_errors.UNKNOWN_STATUS,
                    acceptance=Acceptance.ACCEPTED,
                    vendor=response.evidence(),
                )

    def _result(self, operation: Operation, response: ProviderResponse, prediction: Mapping[str, Any]) -> Generated:
        output = prediction.get("output")
        images = listed_images.read(
            [output] if isinstance(output, str) else output, lambda item: _source(item, response)
        )
        if not images:
            raise operation_errors.unclassified(
                self.name, "a success without images", acceptance=Acceptance.ACCEPTED, vendor=response.evidence()
            )
        seed = operation.state.get("seed")
        if seed is not None and seed.isdecimal() and len(images) == 1:
            images = (replace(images[0], seed=int(seed)),)
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))


def _source(url: Any, response: ProviderResponse) -> ImageSource | None:
    return ImageSource(url=response.address(url)) if isinstance(url, str) else None
