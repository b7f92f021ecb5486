"""What both of ComfyUI's APIs share: an entry is a workflow, and its pictures lie on the server itself."""

from abc import abstractmethod
from typing import Any
from urllib.parse import urljoin

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.comfyui import workflow
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import ImageSource
from services.generator.ports import Order

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: A picture that is read with the key, and so not by whoever reads the others.
MOST_PICTURE = 64 * 1024 * 1024


class WorkflowProvider(RemoteProvider):
    """A provider whose entry is a workflow. The key, if there is one, is sent to `base_url` alone."""

    def __init__(
        self, entry: ComfyUIEntry, *, base_url: str, api_key: str, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        header = entry.settings.api_key_header
        credential = {header: api_key} if header else {"Authorization": f"Bearer {api_key}"}
        super().__init__(
            entry,
            base_url=base_url,
            credential=credential if api_key else {},
            api_key=api_key,
            transport=transport,
        )
        self.max_images_per_call = entry.settings.max_images_per_call
        self._entry = entry
        self._has_key = bool(api_key)

    def _capabilities(self) -> provider_pb2.Capabilities:
        """What the workflow takes is named in `settings.slots`."""
        settings = self._entry.settings
        sized = "width" in settings.slots
        return provider_pb2.Capabilities(
            min_side=settings.min_side if sized else 0,
            max_side=settings.max_side if sized else 0,
            side_multiple=settings.side_multiple if sized else 0,
            output_formats=[settings.output_format] if settings.output_format else [],
            seed="seed" in settings.slots,
            negative_prompt="negative_prompt" in settings.slots,
            max_input_images=len(settings.image_slots),
            mask="mask" in settings.slots,
            cancelable=True,
        )

    def mask_form(self, model: str) -> MaskForm:
        """Some nodes read what is transparent, others what is white."""
        return MaskForm.TWO_WAY

    async def _filled(self, order: Order, *, seed: int) -> workflow.Workflow:
        """The workflow with a request in it, its pictures brought to the server."""
        filled = workflow.filled(self._entry, order, seed=seed)
        slots = self._entry.settings.slots
        brought = input_images.of_order(order)
        for address, data in zip(self._entry.settings.image_slots, brought.images, strict=False):
            workflow.put(filled, address, await self._upload(data))
        slot = slots.get("mask")
        if brought.mask is not None and isinstance(slot, str):
            workflow.put(filled, slot, await self._upload(brought.mask))
        return filled

    @abstractmethod
    async def _upload(self, data: bytes) -> Any:
        """Bring a picture to the server; what a workflow has where it is loaded. Nothing is queued by that."""

    async def _picture(self, url: str, *, seed: int | None) -> ImageSource:
        """A picture of the server's. Where that asks for a key, it is read here: whoever reads the others has none."""
        if not self._has_key or self._own(url, instead="") != url:
            return ImageSource(url=url, seed=seed)
        answer = await self._ask("GET", url, most=MOST_PICTURE)
        if answer.status_code == 200 and not answer.is_cut and answer.broken is None:
            return ImageSource(data=answer.content, seed=seed)
        # It may lie elsewhere, where the key does not go. What cannot be had is told so by whoever reads the others.
        elsewhere = answer.headers.get("location", "") if answer.status_code in _REDIRECTS else ""
        return ImageSource(url=urljoin(url, elsewhere), seed=seed)

    async def _pictures(self, urls: list[str], *, seed: int | None) -> tuple[ImageSource, ...]:
        return tuple([await self._picture(url, seed=seed) for url in urls])
