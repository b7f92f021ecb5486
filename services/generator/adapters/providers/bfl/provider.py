"""The provider kind `bfl`: FLUX models of Black Forest Labs, polled.

Contract: the company's public reference. A task is created, then polled at the URL that its response names, which may
be in another region. The API has no way to cancel a task. Results are URLs that are valid for ten minutes.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images, options
from services.generator.adapters.providers.bfl import errors
from services.generator.adapters.providers.bfl.entry import BFLEntry, BFLSettings
from services.generator.adapters.providers.http import model_names, operation_errors
from services.generator.adapters.providers.http.errors import classify, read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.provider_results import (
    Acceptance,
    Generated,
    ImageSource,
    Operation,
    Pending,
    ProviderError,
    VendorError,
)
from services.generator.ports import ProviderRequest

BASE_URL = "https://api.bfl.ai/v1"
#: One credit is a cent.
MICROS_PER_CREDIT, MAX_CREDITS = 10_000, 1_000_000
#: A new task may not be known everywhere at once: it counts as lost after these seconds; most tasks remembered.
UNFOUND_SECONDS, MAX_UNFOUND = 10.0, 1_000
MAX_SEED = 2**63 - 1
#: A URL of any region of the API; neither a user nor a port can be hidden in it.
_REGIONAL = re.compile(r"https://(?:[a-z0-9-]+\.)+bfl\.ai/")
_ADDRESS = re.compile(r"https?://[!-~]{1,2000}")
_NAME = re.compile(r"[!-~]{1,200}")
_CALLBACKS = ("webhook_url", "webhook_secret")
_WORKING = ("Pending", "Reasoning", "Generating")


class BFLProvider(RemoteProvider):
    """Submits and polls tasks. The key is sent only to the host of `base_url` and to hosts below bfl.ai."""

    traits = Traits(free=False, idempotent=False, resumable=True)
    check_path = "credits"
    max_images_per_call = 1

    def __init__(self, entry: BFLEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(entry, base_url=BASE_URL, credential={"x-key": api_key}, api_key=api_key, transport=transport)
        self._entry = entry
        self._origin = "/".join([*self.base_url.split("/")[:3], ""])
        self._unfound: dict[str, int] = {}
        self._max_unfound = math.ceil(UNFOUND_SECONDS / entry.poll_interval_seconds)

    def _capabilities(self) -> provider_pb2.Capabilities:
        settings = self._entry.settings_of(self._entry.model)
        return provider_pb2.Capabilities(
            aspect_ratios=settings.aspect_ratios,
            min_side=settings.min_side if settings.is_sized else 0,
            max_side=settings.max_side if settings.is_sized else 0,
            side_multiple=settings.side_multiple if settings.is_sized else 0,
            output_formats=settings.output_formats,
            qualities=settings.qualities,
            seed=settings.seed,
            max_input_images=settings.max_input_images,
            mask="mask" in settings.inputs and settings.max_input_images > 0,
        )

    async def submit(self, provider_request: ProviderRequest) -> Operation:
        """Creates a task."""
        body = self._task(provider_request)
        model = model_names.path(self.name, provider_request.model, parts=range(1, 3))
        response = await self._send_paid("POST", f"{self.base_url}/{model}", json=body)
        if not response.is_success:
            raise self._refusal(response)
        task = read_json(self.name, response)
        named, address = task.get("id"), task.get("polling_url")
        if not isinstance(named, str) or not _NAME.fullmatch(named) or not self._may_poll(address):
            raise errors.cannot_be_polled(self.name, response.evidence())
        state = {"polling_url": str(address), "model": provider_request.model}
        cost = _micros(task.get("cost"))
        if cost is not None:
            state["cost_micros"] = str(cost)
        if "seed" in body:
            state["seed"] = str(body["seed"])
        return Operation(id=named, state=state)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Reads a task's status, and its image when it is ready."""
        address = operation.state.get("polling_url", "")
        # The provider file may have changed since the task was created.
        if not self._may_poll(address):
            raise errors.cannot_be_polled(self.name, VendorError(message=address))
        response = await self._send_free("GET", address)
        if response.status_code in (404, 410):
            return self._not_found(operation)
        if response.status_code != 200:
            refusal = self._refusal(response)
            if response.status_code == 429 or response.status_code >= 500:
                status = str(response.status_code)
                raise operation_errors.status_unknown(self.name, status, retry_after=refusal.retry_after_seconds)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        return self._read(operation, response)

    def _task(self, provider_request: ProviderRequest) -> dict[str, Any]:
        request = self._entry.request_for(provider_request.model, provider_request.request)
        refused = next((name for name in _CALLBACKS if name in request.options), None)
        if refused is not None:
            raise options.option_refused(self.name, refused, "the task is polled")
        settings = self._entry.settings_of(provider_request.model)
        width, _, height = (request.size or "").partition("x")
        fields: dict[str, Any] = {
            "prompt": request.prompt if settings.prompt else None,
            "width": int(width) if height else None,
            "height": int(height) if height else None,
            "aspect_ratio": request.aspect_ratio,
            "resolution": request.quality,
            "seed": provider_request.seed if settings.seed else None,
            "output_format": request.output_format,
            **self._input_images(provider_request, settings),
        }
        return {**request.options, **{name: value for name, value in fields.items() if value is not None}}

    def _input_images(self, provider_request: ProviderRequest, settings: BFLSettings) -> dict[str, Any]:
        """Returns the input images by the model's fields. Raises `ProviderError` if one would be left out."""
        attached, inputs = input_images.of_request(provider_request), settings.inputs
        if len(attached.images) > settings.max_input_images:
            raise input_images.images_refused(
                self.name, provider_request.model, f"more than {settings.max_input_images} input images"
            )
        if attached.mask is not None and "mask" not in inputs:
            raise input_images.images_refused(self.name, provider_request.model, "a mask")
        encoded = [input_images.encoded(data) for data in attached.images]
        mask = {} if attached.mask is None else {inputs["mask"]: input_images.encoded(attached.mask)}
        if "images" in inputs:
            return {inputs["images"]: encoded or None, **mask}
        named = inputs.get("image") or inputs.get("numbered_images", "")
        return {
            (named if place == 1 else f"{named}_{place}"): item for place, item in enumerate(encoded, start=1)
        } | mask

    def _may_poll(self, address: Any) -> bool:
        """Returns whether the key may be sent to a URL."""
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            return False
        return address.startswith(self._origin) or _REGIONAL.match(address) is not None

    def _refusal(self, response: ProviderResponse) -> ProviderError:
        code, pause = errors.vendor_code(response), errors.retry_after(response)
        return classify(self.name, response, errors.RULES, vendor_code=code, retry_after=pause)

    def _read(self, operation: Operation, response: ProviderResponse) -> Generated | Pending:
        try:
            task = read_json(self.name, response)
        except ProviderError as error:
            raise operation_errors.status_unknown(self.name, "no task", vendor=error.vendor) from error
        status = task.get("status")
        if status == "Task not found":
            return self._not_found(operation)
        result = task.get("result") if status == "Ready" else None
        image = _image(operation, result, response) if isinstance(result, dict) else None
        if status == "Ready" and image is None and self._may_poll_again(operation):
            return Pending()
        self._unfound.pop(operation.id, None)
        if status in _WORKING:
            return Pending(progress=_progress(task.get("progress")))
        if image is None:
            named = status if isinstance(status, str) else ""
            raise errors.verdict(self.name, response, status=named, task_id=operation.id)
        return Generated(images=(image,), cost_micros=self._cost(operation, task))

    def _cost(self, operation: Operation, task: Mapping[str, Any]) -> int | None:
        """Returns the cost that the task reports at its end, else at its beginning, else the price in the file."""
        final, initial = _micros(task.get("cost")), operation.state.get("cost_micros", "")
        if final is not None:
            return final
        return int(initial) if initial.isdecimal() else self._price(operation.state.get("model", ""), 1)

    def _not_found(self, operation: Operation) -> Pending:
        """Returns `Pending` while the task may be too new to be known everywhere. Raises `ProviderError` later."""
        if not self._may_poll_again(operation):
            raise operation_errors.lost(self.name)
        return Pending()

    def _may_poll_again(self, operation: Operation) -> bool:
        """Returns whether a task, or its result, may be too new to be known everywhere."""
        polls = self._unfound.pop(operation.id, 0) + 1
        if polls > self._max_unfound:
            return False
        # The oldest is forgotten: tasks that are no longer polled would stay forever.
        if len(self._unfound) >= MAX_UNFOUND:
            del self._unfound[next(iter(self._unfound))]
        self._unfound[operation.id] = polls
        return True


def _micros(credit_count: Any) -> int | None:
    """Returns a cost in credits as millionths of a US dollar; None if the value is no plausible cost."""
    if not errors.is_number(credit_count) or not 0 <= credit_count <= MAX_CREDITS:
        return None
    return round(credit_count * MICROS_PER_CREDIT)


def _progress(share: Any) -> float | None:
    """Returns the progress from 0 to 1; None if the value is none."""
    return float(share) if errors.is_number(share) and 0 <= share <= 1 else None


def _image(operation: Operation, result: Mapping[str, Any], response: ProviderResponse) -> ImageSource | None:
    """Returns a result's image, with the seed of the result, else that of the request; None without a URL."""
    sample, seed, requested = result.get("sample"), result.get("seed"), operation.state.get("seed", "")
    if not isinstance(sample, str) or not sample:
        return None
    if type(seed) is int and 0 <= seed <= MAX_SEED:
        return ImageSource(url=response.address(sample), seed=seed)
    return ImageSource(url=response.address(sample), seed=int(requested) if requested.isdecimal() else None)
