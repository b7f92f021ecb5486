"""The provider kind `comfyui` with Comfy API v2: Comfy Cloud, its deployments, and comfy-api-proxy before a server.

Contract: the public OpenAPI description. A workflow becomes a job with an id; it is submitted with an idempotency key,
polled, and canceled by its id.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urljoin
from uuid import uuid4, uuid5

import httpx

from services.generator.adapters.providers.comfyui import errors, workflow
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.comfyui.provider import NAMESPACE
from services.generator.adapters.providers.comfyui.workflow_provider import WorkflowProvider
from services.generator.adapters.providers.http import operation_errors
from services.generator.adapters.providers.http.errors import classify, read_json, vendor_codes
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain import untrusted_text
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.provider_results import (
    Acceptance,
    CancelOutcome,
    Generated,
    Operation,
    Pending,
    ProviderError,
)
from services.generator.ports import ProviderRequest

BASE_URL = "http://127.0.0.1:8189"


class ComfyUIV2Provider(WorkflowProvider):
    """Submits, polls and cancels workflows; free if the provider file has no price.

    With a key and a model without a price it counts as not free, because the service may charge: Comfy Cloud does.
    """

    def __init__(self, entry: ComfyUIEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(entry, base_url=BASE_URL, api_key=api_key, transport=transport)
        prices = [model.price_micros_per_image for model in entry.models]
        is_free = not any(prices) and not (api_key and None in prices)
        self.traits = Traits(free=is_free, idempotent=True, resumable=True)

    async def submit(self, provider_request: ProviderRequest) -> Operation:
        """Submits the workflow with the request's values."""
        seed = (
            provider_request.seed
            if provider_request.seed is not None
            else workflow.seed_of(provider_request.idempotency_key)
        )
        body = {"workflow": await self._filled(provider_request, seed=seed)}
        response = await self._create(body, key=str(uuid5(NAMESPACE, provider_request.idempotency_key)))
        if response.status_code == 422 and errors.KEY_REUSED in vendor_codes(response):
            if not self.traits.free:
                raise errors.response_lost(self.name)
            response = await self._create(body, key=str(uuid4()))
        if response.status_code not in (200, 201):
            raise classify(self.name, response, errors.V2_RULES)
        job = read_json(self.name, response)
        urls = job.get("urls")
        links = (
            {name: url for name, url in urls.items() if name in ("self", "cancel")} if isinstance(urls, dict) else {}
        )
        state = {name: urljoin(f"{self.base_url}/", str(link)) for name, link in links.items()}
        seed_state = {"seed": str(seed)} if provider_request.count == 1 and "seed" in self._entry.settings.slots else {}
        about = {"model": provider_request.model, "count": str(provider_request.count)} | seed_state
        return operation_errors.named(self.name, job.get("id"), state | about)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Reads a job's status, and its images when it succeeded."""
        job = self._job(await self._send_free("GET", self._address(operation, "self")))
        match job.get("status"):
            case "succeeded":
                return await self._result(operation, job.get("outputs"))
            case "failed":
                raise self._failed(operation, job.get("error"))
            case "canceled":
                raise operation_errors.stopped(self.name)
            case "expired":
                raise operation_errors.lost(self.name)
            case "queued" | "running" | "canceling":
                progress = job.get("progress")
                share = progress.get("value") if isinstance(progress, dict) else None
                return Pending(progress=share if isinstance(share, int | float) and 0 <= share <= 1 else None)
            case other:
                raise operation_errors.status_unknown(
                    self.name, operation_errors.UNKNOWN_STATUS, vendor=operation_errors.status(other)
                )

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Cancels a job by its id; a job that has ended stays as it is."""
        job = self._job(await self._send_free("POST", self._address(operation, "cancel")))
        match job.get("status"):
            case "canceled":
                return CancelOutcome.CONFIRMED
            case "succeeded" | "failed" | "expired":
                return CancelOutcome.TOO_LATE
            case other:
                # It stops between two nodes; the next request shows it.
                raise operation_errors.status_unknown(
                    self.name, operation_errors.UNKNOWN_STATUS, vendor=operation_errors.status(other)
                )

    async def _create(self, body: Mapping[str, Any], *, key: str) -> ProviderResponse:
        url = f"{self.base_url}/api/v2/jobs"
        return await self._send_paid("POST", url, json=body, headers={"Idempotency-Key": key})

    async def _upload(self, data: bytes) -> Any:
        name, content, kind = workflow.file_of(data)
        form = {"content_type": kind, "file_path": name}
        try:
            url = f"{self.base_url}/api/v2/assets"
            response = await self._send_paid("POST", url, data=form, files={"file": (name, content, kind)})
            if response.status_code not in (200, 201, 202):
                raise classify(self.name, response, errors.V2_RULES)
            asset = read_json(self.name, response).get("id")
            if not untrusted_text.is_name(asset):
                raise operation_errors.unclassified(self.name, "an asset without an id", acceptance=Acceptance.UNKNOWN)
        except ProviderError as error:
            error.acceptance = Acceptance.NOT_ACCEPTED
            raise
        return {"__type": "core/ASSET", "info": {"id": asset}}

    def _address(self, operation: Operation, name: str) -> str:
        """Returns the URL that the response named; one made from the job's id if that is not the API's."""
        built = f"{self.base_url}/api/v2/jobs/{quote(operation.id, safe='')}{'/cancel' if name == 'cancel' else ''}"
        return self._own(operation.state.get(name, ""), instead=built)

    def _job(self, response: ProviderResponse) -> Mapping[str, Any]:
        """Returns the job in a response. Raises `ProviderError` if there is none."""
        if response.status_code == 404:
            raise operation_errors.lost(self.name)
        if response.status_code == 429 or response.status_code >= 500:
            raise operation_errors.status_unknown(self.name, str(response.status_code))
        if response.status_code != 200:
            refusal = classify(self.name, response, errors.V2_RULES)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        try:
            return read_json(self.name, response)
        except ProviderError as error:
            raise operation_errors.status_unknown(self.name, "not its own format") from error

    def _failed(self, operation: Operation, failure: Any) -> ProviderError:
        error = failure if isinstance(failure, dict) else {}
        kind, message = (str(error.get(part) or "") for part in ("code", "message"))
        return errors.failed(self.name, kind, message, prompt_id=operation.id)

    async def _result(self, operation: Operation, outputs: Any) -> Generated:
        wanted, seed = operation.state.get("count", ""), operation.state.get("seed", "")
        listed = [item for item in outputs if isinstance(item, dict)] if isinstance(outputs, list) else []
        urls = [item.get("url") for item in listed if item.get("type") == "image"]
        found = [urljoin(f"{self.base_url}/", url) for url in urls if isinstance(url, str) and url]
        found = found[: int(wanted) if wanted.isdecimal() else None]
        if not found:
            raise operation_errors.unclassified(self.name, "a success without images", acceptance=Acceptance.ACCEPTED)
        images = await self._images(found, seed=int(seed) if seed.isdecimal() else None)
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))
