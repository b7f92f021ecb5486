"""The base class for both of ComfyUI's APIs: an entry is a workflow, and its images are files of the server."""

from abc import abstractmethod
from typing import Any
from urllib.parse import urljoin

import httpx
from calotype.provider.v1 import provider_pb2
from calotype.size_limits import MAX_IMAGE_BYTES

from services.generator.adapters.providers import input_images
from services.generator.adapters.providers.comfyui import workflow
from services.generator.adapters.providers.comfyui.entry import ComfyUIEntry
from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import ImageSource
from services.generator.ports import ProviderRequest

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class WorkflowProvider(RemoteProvider):
    """A provider whose entry is a workflow. The key, if there is one, is sent only to `base_url`."""

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
        """Returns TWO_WAY: some nodes edit the transparent area, others the white area."""
        return MaskForm.TWO_WAY

    async def _filled(self, provider_request: ProviderRequest, *, seed: int) -> workflow.Workflow:
        """Returns the workflow with the request's values, after uploading its images."""
        filled = workflow.filled(self._entry, provider_request, seed=seed)
        slots = self._entry.settings.slots
        attached = input_images.of_request(provider_request)
        for address, data in zip(self._entry.settings.image_slots, attached.images, strict=False):
            workflow.put(filled, address, await self._upload(data))
        slot = slots.get("mask")
        if attached.mask is not None and isinstance(slot, str):
            workflow.put(filled, slot, await self._upload(attached.mask))
        return filled

    @abstractmethod
    async def _upload(self, data: bytes) -> Any:
        """Uploads an image and returns the value that loads it in a workflow; nothing is queued by that."""

    async def _image(self, url: str, *, seed: int | None) -> ImageSource:
        """Returns an image of the server; with a key it is read here, because the image reader has no key."""
        if not self._has_key or self._own(url, instead="") != url:
            return ImageSource(url=url, seed=seed)
        response = await self._send_free("GET", url, limit=MAX_IMAGE_BYTES)
        if response.status_code == 200 and not response.is_cut and response.broken is None:
            return ImageSource(data=response.content, seed=seed)
        # A redirect leads to storage, where the key does not go. If the image is missing, the image reader reports it.
        elsewhere = response.headers.get("location", "") if response.status_code in _REDIRECTS else ""
        return ImageSource(url=urljoin(url, elsewhere), seed=seed)

    async def _images(self, urls: list[str], *, seed: int | None) -> tuple[ImageSource, ...]:
        return tuple([await self._image(url, seed=seed) for url in urls])
