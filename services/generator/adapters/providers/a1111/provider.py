"""The provider kind `a1111`: self-hosted AUTOMATIC1111 web UI, Forge and SD.Next; synchronous, free.

Contract: the servers' source (`modules/api`, `modules/progress.py`). Each call is a task with its own id
(`force_task_id`), by which the server reports its progress. A task is stopped only while it is certainly the task that
the server draws.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.images.size import size_of
from services.generator.adapters.providers import input_images, options
from services.generator.adapters.providers.a1111 import errors, result
from services.generator.adapters.providers.a1111.entry import A1111Entry
from services.generator.adapters.providers.http import operation_errors, responses
from services.generator.adapters.providers.http.errors import read_json
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.adapters.providers.seeds import seed_of
from services.generator.domain import untrusted_text
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import CancelOutcome, Generated, Operation, ProviderError
from services.generator.ports import ProviderRequest

BASE_URL = "http://127.0.0.1:7860"
#: Number of seeds that every sampler supports.
SEEDS = 2**32
#: A task that ends sooner is not stopped: the next task, of another client, might have begun by then.
SHORTEST_REST_SECONDS = 1.0
_FIXED = "the adapter sets it"
#: Options that a job may not set, and why: with them the image would be lost, or differ from the request.
_REFUSED = {
    **dict.fromkeys(("prompt", "negative_prompt", "seed", "width", "height", "batch_size", "n_iter"), _FIXED),
    **dict.fromkeys(("init_images", "mask", "force_task_id", "send_images", "include_init_images"), _FIXED),
    **dict.fromkeys(("save_images", "do_not_save_samples", "do_not_save_grid"), "nothing is saved on the server"),
    "infotext": "it would override the request",
}


class A1111Provider(RemoteProvider):
    """Requests images and waits for them. Name and password, if configured, are sent only to `base_url`."""

    traits = Traits(free=True, idempotent=False, resumable=False, stoppable=True)

    def __init__(self, entry: A1111Entry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        encoded = base64.b64encode(api_key.encode()).decode()
        super().__init__(
            entry,
            base_url=BASE_URL,
            credential={"Authorization": f"Basic {encoded}"} if api_key else {},
            api_key=api_key,
            transport=transport,
            response_seconds=entry.timeout_seconds,
        )
        for secret in (encoded, api_key.partition(":")[2]):
            untrusted_text.register_secret(secret)
        self.max_images_per_call = entry.settings.max_images_per_call
        self._entry = entry

    def _capabilities(self) -> provider_pb2.Capabilities:
        settings = self._entry.settings
        return provider_pb2.Capabilities(
            min_side=settings.min_side,
            max_side=settings.max_side,
            side_multiple=settings.side_multiple,
            output_formats=[settings.output_format] if settings.output_format else [],
            seed=True,
            negative_prompt=True,
            max_input_images=1,
            mask=True,
            cancelable=True,
        )

    async def submit(self, provider_request: ProviderRequest) -> Generated:
        """Requests images, reports the progress, and waits for them."""
        fields = await self._fields(provider_request)
        url = f"{self.base_url}/sdapi/v1/{'img2img' if provider_request.inputs else 'txt2img'}"
        limit = responses.max_bytes(provider_request.count)
        # In its own context, so that its reads have their own share of memory.
        watching = asyncio.create_task(
            self._report_progress(provider_request.call_id, provider_request.report), context=Context()
        )
        try:
            response = await self._send_paid("POST", url, limit=limit, json=fields)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        if response.status_code != 200:
            raise errors.refusal_of(self.name, response)
        body = read_json(self.name, response)
        images = result.images_of(body, count=provider_request.count)
        if not images:
            raise errors.no_image(self.name, response)
        drawn = result.info_of(body)
        if result.is_another(drawn, provider_request.model):
            raise errors.other_checkpoint(self.name, wanted=provider_request.model, drawn=drawn.get("sd_model_name"))
        return Generated(images=images, cost_micros=self._price(provider_request.model, len(images)))

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Stops the task if it is the one being drawn; the server's interrupt stops any task."""
        task = await self._task(operation.id)
        if task.get("completed") is True:
            return CancelOutcome.TOO_LATE
        if task.get("active") is not True:
            # It waits behind others, or the server does not report which task it draws.
            return CancelOutcome.UNSUPPORTED
        rest = task.get("eta")
        if isinstance(rest, int | float) and rest < SHORTEST_REST_SECONDS:
            return CancelOutcome.TOO_LATE
        response = await self._send_free("POST", f"{self.base_url}/sdapi/v1/interrupt")
        if response.status_code != 200:
            raise operation_errors.status_unknown(self.name, str(response.status_code))
        return CancelOutcome.CONFIRMED

    async def _fields(self, provider_request: ProviderRequest) -> dict[str, Any]:
        request = self._entry.request_for(provider_request.model, provider_request.request)
        given = self._options(request)
        seed = provider_request.seed if provider_request.seed is not None else seed_of(provider_request.idempotency_key)
        batch = next(
            size for size in range(self._entry.settings.max_batch_size, 0, -1) if provider_request.count % size == 0
        )
        width, _, height = (request.size or "").partition("x")
        settings = given.get("override_settings", {})
        fields = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "seed": seed % SEEDS,
            "width": int(width) if height else None,
            "height": int(height) if height else None,
            "batch_size": batch,
            "n_iter": provider_request.count // batch,
            "override_settings": {**settings, "sd_model_checkpoint": provider_request.model},
            "force_task_id": provider_request.call_id,
            "send_images": True,
            "save_images": False,
        }
        inputs = await self._inputs(provider_request, has_size=bool(height)) if provider_request.inputs else {}
        return {**given, **{name: value for name, value in fields.items() if value is not None}, **inputs}

    def _options(self, request: Request) -> Mapping[str, Any]:
        """Returns the job's options. Raises `ProviderError` for one that would lose or replace the image."""
        for name, why in _REFUSED.items():
            if name in request.options:
                raise options.option_refused(self.name, name, why)
        settings = request.options.get("override_settings", {})
        if not isinstance(settings, dict):
            raise options.option_refused(self.name, "override_settings", "it must be an object")
        if "sd_model_checkpoint" in settings:
            raise options.option_refused(self.name, "override_settings.sd_model_checkpoint", "the job's model says it")
        return request.options

    async def _inputs(self, provider_request: ProviderRequest, *, has_size: bool) -> dict[str, Any]:
        """Returns the fields of the input image and of the mask of the area to redraw."""
        has_mask = any(image.index < 0 for image in provider_request.request.inputs)
        found: dict[str, Any] = {"init_images": [base64.b64encode(provider_request.inputs[0]).decode()]}
        if has_mask:
            found["mask"] = input_images.encoded(provider_request.inputs[-1])
        if not has_size and (size := size_of(provider_request.inputs[0])):
            # Without a size the server would draw 512x512, whatever the image's ratio.
            found["width"], found["height"] = self._within(size)
        return found

    def _within(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the nearest width and height within the limits, of about the same ratio."""
        settings = self._entry.settings
        scale = min(1.0, settings.max_side / max(size))
        step = settings.side_multiple
        limit, least = settings.max_side // step * step, -(-settings.min_side // step) * step
        width, height = (min(max(round(side * scale / step) * step, least), limit) for side in size)
        return width, height

    async def _report_progress(self, task_id: str, report: Callable[[float], None]) -> None:
        """Reports the progress until it is canceled."""
        while True:
            await asyncio.sleep(self.poll_interval_seconds)
            try:
                share = await self._share(task_id)
            except ProviderError:
                # Progress may be missing; the image arrives with the response.
                continue
            if share is not None:
                report(share)

    async def _share(self, task_id: str) -> float | None:
        """Returns the task's progress from 0 to 1, or, if the server has no tasks, that of the current drawing."""
        task = await self._task(task_id)
        if not any(task.get(state) is True for state in ("active", "queued", "completed")):
            response = await self._send_free("GET", f"{self.base_url}/sdapi/v1/progress?skip_current_image=true")
            body = response.json() if response.status_code == 200 else None
            task = {"active": True} | body if isinstance(body, dict) else {}
        share = task.get("progress") if task.get("active") is True else None
        return min(max(float(share), 0.0), 1.0) if isinstance(share, int | float) else None

    async def _task(self, task_id: str) -> Mapping[str, Any]:
        """Returns the server's report on a task; empty if it does not know the task, or runs without its pages."""
        response = await self._send_free("POST", f"{self.base_url}/internal/progress", json={"id_task": task_id})
        body = response.json() if response.status_code == 200 else None
        return body if isinstance(body, dict) else {}
