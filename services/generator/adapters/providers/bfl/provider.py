"""The provider kind `bfl`: FLUX models of Black Forest Labs, polled; wire contract from the vendor's public reference.

A task is created, and followed at the address that its answer names, which may be of another region. There is nothing
by which it could be stopped. Results are URLs that live for ten minutes.
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
from services.generator.adapters.providers.http.responses import Answer
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
from services.generator.ports import Order

BASE_URL = "https://api.bfl.ai/v1"
#: One credit is a cent.
MICROS_PER_CREDIT, MOST_CREDITS = 10_000, 1_000_000
#: A task that was just made may not be known yet where it is asked for: it is called lost after so many seconds.
UNKNOWN_SECONDS, MOST_UNFOUND = 10.0, 1_000
MOST_SEED = 2**63 - 1
#: Every region of the vendor; neither a user nor a port can be hidden in it.
_REGIONAL = re.compile(r"https://(?:[a-z0-9-]+\.)+bfl\.ai/")
_ADDRESS = re.compile(r"https?://[!-~]{1,2000}")
_NAME = re.compile(r"[!-~]{1,200}")
_CALLBACKS = ("webhook_url", "webhook_secret")
_WORKING = ("Pending", "Reasoning", "Generating")


class BFLProvider(RemoteProvider):
    """Submits and polls tasks. The key is sent to `base_url`'s own host, and to the vendor's own."""

    traits = Traits(free=False, idempotent=False, resumable=True)
    free_question = "credits"
    max_images_per_call = 1

    def __init__(self, entry: BFLEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(entry, base_url=BASE_URL, credential={"x-key": api_key}, api_key=api_key, transport=transport)
        self._entry = entry
        self._origin = "/".join([*self.base_url.split("/")[:3], ""])
        self._unfound: dict[str, int] = {}
        self._most_unfound = math.ceil(UNKNOWN_SECONDS / entry.poll_interval_seconds)

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

    async def submit(self, order: Order) -> Operation:
        """Create a task."""
        body = self._task(order)
        model = model_names.path(self.name, order.model, parts=range(1, 3))
        answer = await self._buy("POST", f"{self.base_url}/{model}", json=body)
        if not answer.is_success:
            raise self._refusal(answer)
        task = read_json(self.name, answer)
        named, address = task.get("id"), task.get("polling_url")
        if not isinstance(named, str) or not _NAME.fullmatch(named) or not self._may_follow(address):
            raise errors.not_followable(self.name, answer.evidence())
        state = {"polling_url": str(address), "model": order.model}
        cost = _micros(task.get("cost"))
        if cost is not None:
            state["cost_micros"] = str(cost)
        if "seed" in body:
            state["seed"] = str(body["seed"])
        return Operation(id=named, state=state)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how a task stands."""
        address = operation.state.get("polling_url", "")
        # The file may have changed since the task was made.
        if not self._may_follow(address):
            raise errors.not_followable(self.name, VendorError(message=address))
        answer = await self._ask("GET", address)
        if answer.status_code in (404, 410):
            return self._not_found(operation)
        if answer.status_code != 200:
            refusal = self._refusal(answer)
            if answer.status_code == 429 or answer.status_code >= 500:
                told = str(answer.status_code)
                raise operation_errors.not_told(self.name, told, retry_after=refusal.retry_after_seconds)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        return self._read(operation, answer)

    def _task(self, order: Order) -> dict[str, Any]:
        request = self._entry.request_for(order.model, order.request)
        refused = next((name for name in _CALLBACKS if name in request.options), None)
        if refused is not None:
            raise options.not_taken(self.name, refused, "it is followed by asking")
        settings = self._entry.settings_of(order.model)
        width, _, height = (request.size or "").partition("x")
        fields: dict[str, Any] = {
            "prompt": request.prompt if settings.prompt else None,
            "width": int(width) if height else None,
            "height": int(height) if height else None,
            "aspect_ratio": request.aspect_ratio,
            "resolution": request.quality,
            "seed": order.seed if settings.seed else None,
            "output_format": request.output_format,
            **self._pictures(order, settings),
        }
        return {**request.options, **{name: value for name, value in fields.items() if value is not None}}

    def _pictures(self, order: Order, settings: BFLSettings) -> dict[str, Any]:
        """The pictures by the model's own fields. Raises `ProviderError` where one would be left out."""
        brought, inputs = input_images.of_order(order), settings.inputs
        if len(brought.images) > settings.max_input_images:
            raise input_images.not_taken(self.name, order.model, f"more than {settings.max_input_images} input images")
        if brought.mask is not None and "mask" not in inputs:
            raise input_images.not_taken(self.name, order.model, "a mask")
        encoded = [input_images.encoded(data) for data in brought.images]
        mask = {} if brought.mask is None else {inputs["mask"]: input_images.encoded(brought.mask)}
        if "images" in inputs:
            return {inputs["images"]: encoded or None, **mask}
        named = inputs.get("image") or inputs.get("numbered_images", "")
        return {(named if place == 1 else f"{named}_{place}"): one for place, one in enumerate(encoded, start=1)} | mask

    def _may_follow(self, address: Any) -> bool:
        """Whether an address may be asked with the key."""
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            return False
        return address.startswith(self._origin) or _REGIONAL.match(address) is not None

    def _refusal(self, answer: Answer) -> ProviderError:
        code, pause = errors.vendor_code(answer), errors.retry_after(answer)
        return classify(self.name, answer, errors.RULES, vendor_code=code, retry_after=pause)

    def _read(self, operation: Operation, answer: Answer) -> Generated | Pending:
        try:
            task = read_json(self.name, answer)
        except ProviderError as error:
            raise operation_errors.not_told(self.name, "no task", vendor=error.vendor) from error
        status = task.get("status")
        if status == "Task not found":
            return self._not_found(operation)
        result = task.get("result") if status == "Ready" else None
        image = _image(operation, result, answer) if isinstance(result, dict) else None
        if status == "Ready" and image is None and self._may_look_again(operation):
            return Pending()
        self._unfound.pop(operation.id, None)
        if status in _WORKING:
            return Pending(progress=_progress(task.get("progress")))
        if image is None:
            named = status if isinstance(status, str) else ""
            raise errors.verdict(self.name, answer, status=named, task_id=operation.id)
        return Generated(images=(image,), cost_micros=self._cost(operation, task))

    def _cost(self, operation: Operation, task: Mapping[str, Any]) -> int | None:
        """What the task tells at its end, what it told when it was begun, or the price in the file."""
        told, begun = _micros(task.get("cost")), operation.state.get("cost_micros", "")
        if told is not None:
            return told
        return int(begun) if begun.isdecimal() else self._price(operation.state.get("model", ""), 1)

    def _not_found(self, operation: Operation) -> Pending:
        """Lost, unless it may be too young to be known everywhere."""
        if not self._may_look_again(operation):
            raise operation_errors.gone(self.name)
        return Pending()

    def _may_look_again(self, operation: Operation) -> bool:
        """Whether a task, or its result, may be too young to be known everywhere."""
        looks = self._unfound.pop(operation.id, 0) + 1
        if looks > self._most_unfound:
            return False
        # Those that nobody looks at any more are forgotten, the eldest first.
        if len(self._unfound) >= MOST_UNFOUND:
            del self._unfound[next(iter(self._unfound))]
        self._unfound[operation.id] = looks
        return True


def _micros(credits_told: Any) -> int | None:
    """What a task costs, if its answer says so in a way that makes sense."""
    if not errors.is_number(credits_told) or not 0 <= credits_told <= MOST_CREDITS:
        return None
    return round(credits_told * MICROS_PER_CREDIT)


def _progress(told: Any) -> float | None:
    """How far a task is, if its answer says so as a part of one."""
    return float(told) if errors.is_number(told) and 0 <= told <= 1 else None


def _image(operation: Operation, result: Mapping[str, Any], answer: Answer) -> ImageSource | None:
    """The image of a result; its seed is the one that the result tells, else the one that was asked for."""
    sample, seed, asked = result.get("sample"), result.get("seed"), operation.state.get("seed", "")
    if not isinstance(sample, str) or not sample:
        return None
    if type(seed) is int and 0 <= seed <= MOST_SEED:
        return ImageSource(url=answer.address(sample), seed=seed)
    return ImageSource(url=answer.address(sample), seed=int(asked) if asked.isdecimal() else None)
