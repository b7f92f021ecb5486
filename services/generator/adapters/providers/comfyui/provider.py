"""The provider kind `comfyui`: workflows on a self-hosted ComfyUI server; queued, polled, free.

Contract: the server's public source and documents. A prompt is queued under an id made from the call's id, searched in
the history and in the queue, and its images are read from the server. Progress arrives over a websocket, if the server
has one; nothing depends on it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid5

import httpx

from services.generator.adapters.providers.comfyui import errors, workflow
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.comfyui.progress import WorkflowProgress
from services.generator.adapters.providers.comfyui.workflow_provider import WorkflowProvider
from services.generator.adapters.providers.http import operation_errors
from services.generator.adapters.providers.http.errors import classify, read_json
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

BASE_URL = "http://127.0.0.1:8188"
#: Bound of the queue and the history, which repeat whole workflows, also those of other clients.
MAX_RESPONSE_BYTES = 32 * 1024 * 1024
#: Statuses of older servers for a path that they do not have.
_NO_SUCH_PATH = frozenset({404, 405})
#: Namespace of prompt ids, which are made from call ids.
NAMESPACE = UUID("5d5c2a7e-6f0b-4f7e-9c55-0f1f5d3c8a21")


class ComfyUIProvider(WorkflowProvider):
    """Queues, polls and cancels workflows."""

    traits = Traits(free=True, idempotent=False, resumable=True)
    check_path = "system_stats"

    def __init__(self, entry: ComfyUIEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(entry, base_url=BASE_URL, api_key=api_key, transport=transport)
        # A prompt that was removed from the queue leaves no trace at the server.
        self._removed: deque[str] = deque(maxlen=1000)

    async def submit(self, provider_request: ProviderRequest) -> Operation:
        """Queues the workflow with the request's values."""
        seed = (
            provider_request.seed if provider_request.seed is not None else workflow.seed_of(provider_request.call_id)
        )
        filled = await self._filled(provider_request, seed=seed)
        own_id = str(uuid5(NAMESPACE, provider_request.call_id))
        # The server sends a prompt's progress to the client of this id: each call is its own client.
        body = {"prompt": filled, "client_id": own_id, "prompt_id": own_id}
        response = await self._send_paid("POST", f"{self.base_url}/prompt", json=body)
        if not response.is_success:
            raise classify(self.name, response, errors.RULES)
        # Older servers choose the id themselves.
        named = read_json(self.name, response).get("prompt_id")
        state = {"model": provider_request.model, "count": str(provider_request.count), "client_id": own_id}
        # The images of a batch share one seed, which alone would repeat only the first.
        seed_state = {"seed": str(seed)} if provider_request.count == 1 and "seed" in self._entry.settings.slots else {}
        return operation_errors.named(self.name, named, state | seed_state)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Reads a prompt's state, and its images when it has ended."""
        ended = await self._history(operation.id)
        if ended is None:
            if await self._queue_list_of(operation.id):
                return Pending()
            # It may have ended between the two requests.
            ended = await self._history(operation.id)
        if ended is None:
            removed = operation.id in self._removed
            raise operation_errors.stopped(self.name) if removed else operation_errors.lost(self.name)
        status = ended.get("status")
        failure = errors.ending_of(self.name, status if isinstance(status, dict) else {})
        if failure is not None:
            raise failure
        return await self._result(operation, ended.get("outputs"))

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Reports the workflow's progress while the server sends it; returns whether the prompt ended."""
        if "client_id" not in operation.state:
            return False
        progress = WorkflowProgress(self._entry.settings.workflow, operation.id)
        query = urlencode({"clientId": operation.state["client_id"]})
        async with aclosing(self._listen(f"{self.base_url}/ws?{query}")) as messages:
            async for message in messages:
                if progress.update(message):
                    report(progress.share)
                if progress.ended:
                    return True
        return False

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Cancels a prompt by its id, whether it waits or runs."""
        folder = "jobs" if self.base_url.endswith("/api") else "api/jobs"
        url = f"{self.base_url}/{folder}/{quote(operation.id, safe='')}/cancel"
        response = await self._send_free("POST", url)
        if response.status_code in _NO_SUCH_PATH:
            return await self._cancel_in_two_steps(operation)
        body = response.json() if response.status_code == 200 else None
        if not isinstance(body, dict) or not isinstance(body.get("cancelled"), bool):
            raise operation_errors.status_unknown(self.name, str(response.status_code))
        if body["cancelled"]:
            self._removed.append(operation.id)
        return CancelOutcome.CONFIRMED if operation.id in self._removed else CancelOutcome.TOO_LATE

    async def _cancel_in_two_steps(self, operation: Operation) -> CancelOutcome:
        """Removes a prompt from the queue, or interrupts it if it is the one that runs, as older servers require."""
        queue_list = await self._queue_list_of(operation.id)
        if queue_list == "queue_pending":
            await self._post("queue", {"delete": [operation.id]})
            queue_list = await self._queue_list_of(operation.id)
            if queue_list == "queue_pending":
                raise operation_errors.status_unknown(self.name, "still queued")
            if queue_list is None and await self._history(operation.id) is None:
                self._removed.append(operation.id)
        if queue_list == "queue_running":
            # Some servers ignore the id and stop any prompt: only after the queue shows that ours runs.
            await self._post("interrupt", {"prompt_id": operation.id})
            return CancelOutcome.CONFIRMED
        return CancelOutcome.CONFIRMED if operation.id in self._removed else CancelOutcome.TOO_LATE

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Returns the key for the server's own URLs; Comfy Cloud redirects from them to storage without it."""
        return self._key_for_own(url)

    async def _upload(self, data: bytes) -> str:
        """Uploads an image and returns the name by which a workflow loads it; nothing is queued by that."""
        try:
            response = await self._send_paid(
                "POST", f"{self.base_url}/upload/image", files={"image": workflow.file_of(data)}
            )
            if response.status_code != 200:
                raise classify(self.name, response, errors.RULES)
            file = read_json(self.name, response)
            named, folder = file.get("name"), file.get("subfolder")
            if not isinstance(named, str) or not named:
                raise operation_errors.unclassified(
                    self.name, "an upload without a name", acceptance=Acceptance.UNKNOWN
                )
        except ProviderError as error:
            error.acceptance = Acceptance.NOT_ACCEPTED
            raise
        return f"{folder}/{named}" if isinstance(folder, str) and folder else named

    async def _get(self, path: str) -> Mapping[str, Any]:
        response = await self._send_free("GET", f"{self.base_url}/{path}", limit=MAX_RESPONSE_BYTES)
        if response.status_code == 429 or response.status_code >= 500:
            raise operation_errors.status_unknown(self.name, str(response.status_code))
        if response.status_code != 200:
            refusal = classify(self.name, response, errors.RULES)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        try:
            return read_json(self.name, response)
        except ProviderError as error:
            raise operation_errors.status_unknown(self.name, "not its own format") from error

    async def _history(self, prompt_id: str) -> Mapping[str, Any] | None:
        """Returns the history of a prompt; None while it has not ended, or if the server does not know it."""
        ended = (await self._get(f"history/{quote(prompt_id, safe='')}")).get(prompt_id)
        if ended is not None and not isinstance(ended, dict):
            raise operation_errors.status_unknown(self.name, "an unreadable history")
        return ended

    async def _queue_list_of(self, prompt_id: str) -> str | None:
        """Returns the queue's list that has the prompt: `queue_running`, `queue_pending`, or None."""
        queue = await self._get("queue")
        for queue_list in ("queue_running", "queue_pending"):
            if not isinstance(queue.get(queue_list), list):
                raise operation_errors.status_unknown(self.name, "an unreadable queue")
            if any(isinstance(item, list) and item[1:2] == [prompt_id] for item in queue[queue_list]):
                return queue_list
        return None

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        response = await self._send_free("POST", f"{self.base_url}/{path}", json=body)
        if response.status_code not in (200, 204):
            raise operation_errors.status_unknown(self.name, str(response.status_code))

    async def _result(self, operation: Operation, outputs: Any) -> Generated:
        wanted, seed = operation.state.get("count", ""), operation.state.get("seed", "")
        found = workflow.saved(outputs)[: int(wanted) if wanted.isdecimal() else None]
        if not found:
            raise operation_errors.unclassified(self.name, "a success without images", acceptance=Acceptance.ACCEPTED)
        echoed = int(seed) if seed.isdecimal() else None
        # A name may have a lone surrogate, which no URL can carry.
        queries = [urlencode(file, errors="replace") for file in found]
        images = await self._images([f"{self.base_url}/view?{query}" for query in queries], seed=echoed)
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))
