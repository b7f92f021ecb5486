"""The provider kind `comfyui`: workflows on a ComfyUI server of one's own; queued, polled, free.

Wire contract from the server's public source and documents. A prompt is queued under an id that follows from the call,
looked up in the history and in the queue, and its images are read from the server itself. Its progress comes over a
websocket, where there is one; nothing depends on that.
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
from services.generator.ports import Order

BASE_URL = "http://127.0.0.1:8188"
#: The queue and the history repeat whole workflows, those of others among them.
MOST_ANSWER = 32 * 1024 * 1024
#: How older servers answer to what they do not know.
_NO_SUCH_WAY = frozenset({404, 405})
#: Where the ids of prompts come from.
NAMESPACE = UUID("5d5c2a7e-6f0b-4f7e-9c55-0f1f5d3c8a21")


class ComfyUIProvider(WorkflowProvider):
    """Queues workflows, looks after them and stops them."""

    traits = Traits(free=True, idempotent=False, resumable=True)
    free_question = "system_stats"

    def __init__(self, entry: ComfyUIEntry, *, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(entry, base_url=BASE_URL, api_key=api_key, transport=transport)
        # A prompt that was taken out of the queue leaves no trace at the server.
        self._taken_out: deque[str] = deque(maxlen=1000)

    async def submit(self, order: Order) -> Operation:
        """Queue the workflow, with this request in its slots."""
        seed = order.seed if order.seed is not None else workflow.seed_of(order.call_id)
        filled = await self._filled(order, seed=seed)
        own_id = str(uuid5(NAMESPACE, order.call_id))
        # The server tells a prompt's progress to the client of this id: each call is one of its own.
        body = {"prompt": filled, "client_id": own_id, "prompt_id": own_id}
        answer = await self._buy("POST", f"{self.base_url}/prompt", json=body)
        if not answer.is_success:
            raise classify(self.name, answer, errors.RULES)
        # Older servers choose the id themselves.
        named = read_json(self.name, answer).get("prompt_id")
        state = {"model": order.model, "count": str(order.count), "client_id": own_id}
        # The images of a batch come from one seed, and only the first could be had by it alone.
        told = {"seed": str(seed)} if order.count == 1 and "seed" in self._entry.settings.slots else {}
        return operation_errors.named(self.name, named, state | told)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how a prompt stands."""
        ended = await self._history(operation.id)
        if ended is None:
            if await self._place(operation.id):
                return Pending()
            # It may have ended between the two looks.
            ended = await self._history(operation.id)
        if ended is None:
            taken_out = operation.id in self._taken_out
            raise operation_errors.stopped(self.name) if taken_out else operation_errors.gone(self.name)
        status = ended.get("status")
        failure = errors.ending_of(self.name, status if isinstance(status, dict) else {})
        if failure is not None:
            raise failure
        return await self._result(operation, ended.get("outputs"))

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Report how far the workflow is, as long as the server tells it."""
        if "client_id" not in operation.state:
            return False
        progress = WorkflowProgress(self._entry.settings.workflow, operation.id)
        query = urlencode({"clientId": operation.state["client_id"]})
        async with aclosing(self._listen(f"{self.base_url}/ws?{query}")) as told:
            async for message in told:
                if progress.heed(message):
                    report(progress.share)
                if progress.ended:
                    return True
        return False

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Stop a prompt by its id, whether it waits or runs."""
        folder = "jobs" if self.base_url.endswith("/api") else "api/jobs"
        url = f"{self.base_url}/{folder}/{quote(operation.id, safe='')}/cancel"
        answer = await self._ask("POST", url)
        if answer.status_code in _NO_SUCH_WAY:
            return await self._cancel_in_two_steps(operation)
        told = answer.json() if answer.status_code == 200 else None
        if not isinstance(told, dict) or not isinstance(told.get("cancelled"), bool):
            raise operation_errors.not_told(self.name, str(answer.status_code))
        if told["cancelled"]:
            self._taken_out.append(operation.id)
        return CancelOutcome.CONFIRMED if operation.id in self._taken_out else CancelOutcome.TOO_LATE

    async def _cancel_in_two_steps(self, operation: Operation) -> CancelOutcome:
        """Take a prompt out of the queue, or stop it where it is the one that runs: the way of older servers."""
        place = await self._place(operation.id)
        if place == "queue_pending":
            await self._tell("queue", {"delete": [operation.id]})
            place = await self._place(operation.id)
            if place == "queue_pending":
                raise operation_errors.not_told(self.name, "still queued")
            if place is None and await self._history(operation.id) is None:
                self._taken_out.append(operation.id)
        if place == "queue_running":
            # Some ignore the id and stop whatever runs: only after a look that shows that it is ours.
            await self._tell("interrupt", {"prompt_id": operation.id})
            return CancelOutcome.CONFIRMED
        return CancelOutcome.CONFIRMED if operation.id in self._taken_out else CancelOutcome.TOO_LATE

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Images are the server's own, behind the key where it wants one; Comfy Cloud sends from there to storage."""
        return self._key_for_own(url)

    async def _upload(self, data: bytes) -> str:
        """Bring an image to the server; the name by which a workflow loads it. Nothing is queued by that."""
        try:
            answer = await self._buy("POST", f"{self.base_url}/upload/image", files={"image": workflow.file_of(data)})
            if answer.status_code != 200:
                raise classify(self.name, answer, errors.RULES)
            told = read_json(self.name, answer)
            named, folder = told.get("name"), told.get("subfolder")
            if not isinstance(named, str) or not named:
                raise operation_errors.unclassified(
                    self.name, "an upload without a name", acceptance=Acceptance.UNKNOWN
                )
        except ProviderError as error:
            error.acceptance = Acceptance.NOT_ACCEPTED
            raise
        return f"{folder}/{named}" if isinstance(folder, str) and folder else named

    async def _look(self, path: str) -> Mapping[str, Any]:
        answer = await self._ask("GET", f"{self.base_url}/{path}", most=MOST_ANSWER)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise operation_errors.not_told(self.name, str(answer.status_code))
        if answer.status_code != 200:
            refusal = classify(self.name, answer, errors.RULES)
            refusal.acceptance = Acceptance.UNKNOWN
            raise refusal
        try:
            return read_json(self.name, answer)
        except ProviderError as error:
            raise operation_errors.not_told(self.name, "not its own format") from error

    async def _history(self, prompt_id: str) -> Mapping[str, Any] | None:
        """What became of a prompt; None while it has not ended, or when nobody knows it."""
        ended = (await self._look(f"history/{quote(prompt_id, safe='')}")).get(prompt_id)
        if ended is not None and not isinstance(ended, dict):
            raise operation_errors.not_told(self.name, "a strange history")
        return ended

    async def _place(self, prompt_id: str) -> str | None:
        """The list of the queue in which a prompt stands."""
        told = await self._look("queue")
        for place in ("queue_running", "queue_pending"):
            if not isinstance(told.get(place), list):
                raise operation_errors.not_told(self.name, "a strange queue")
            if any(isinstance(one, list) and one[1:2] == [prompt_id] for one in told[place]):
                return place
        return None

    async def _tell(self, path: str, body: Mapping[str, Any]) -> None:
        answer = await self._ask("POST", f"{self.base_url}/{path}", json=body)
        if answer.status_code not in (200, 204):
            raise operation_errors.not_told(self.name, str(answer.status_code))

    async def _result(self, operation: Operation, outputs: Any) -> Generated:
        wanted, seed = operation.state.get("count", ""), operation.state.get("seed", "")
        found = workflow.saved(outputs)[: int(wanted) if wanted.isdecimal() else None]
        if not found:
            raise operation_errors.unclassified(self.name, "a success without images", acceptance=Acceptance.ACCEPTED)
        echoed = int(seed) if seed.isdecimal() else None
        # A name may hold half a letter, which no address can.
        queries = [urlencode(file, errors="replace") for file in found]
        images = await self._pictures([f"{self.base_url}/view?{query}" for query in queries], seed=echoed)
        return Generated(images=images, cost_micros=self._price(operation.state.get("model", ""), len(images)))
