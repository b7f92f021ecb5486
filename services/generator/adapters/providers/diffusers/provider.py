"""The provider kind `diffusers`: a diffusion model on this machine's GPU or CPU; free, without HTTP.

Contract: the library's public reference. A call is a drawing in this process: it cannot be resumed after a crash, but
the same call draws the same image again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from calotype.provider.v1 import provider_pb2
from PIL import Image

from common.config import ConfigError
from services.generator.adapters.images.decoding.processes import DecodingProcesses
from services.generator.adapters.images.size import size_of
from services.generator.adapters.providers import input_images, option_messages
from services.generator.adapters.providers.diffusers import torch_pipeline
from services.generator.adapters.providers.diffusers.entry import DiffusersEntry, DiffusersSettings
from services.generator.adapters.providers.diffusers.errors import classified
from services.generator.adapters.providers.diffusers.options import arguments_of
from services.generator.adapters.providers.diffusers.pipeline_thread import (
    Diffusion,
    DiffusionFailed,
    Drawing,
    Pipeline,
    Unsupported,
)
from services.generator.adapters.providers.seeds import seed_of
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import MaskForm, Request
from services.generator.domain.provider_results import CancelOutcome, Generated, ImageSource, Operation, Pending
from services.generator.ports import ProviderRequest

DEFAULT_FORMAT = "png"
OUTPUT_FORMATS = ("png", "jpeg", "webp")
RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
SEEDS = 2**63
INSTALL = "pip install 'calotype[diffusers]'"


class DiffusersProvider:
    """Draws synchronously, one call after the other. Raises `ConfigError` if the libraries or the model are missing.

    `load` is for tests; it returns a pipeline that needs neither.
    """

    traits = Traits(free=True, idempotent=True, resumable=False)
    trusted_host: str | None = None
    allow_private_addresses = False

    def __init__(
        self, entry: DiffusersEntry, decoder: DecodingProcesses, *, load: Callable[[], Pipeline] | None = None
    ) -> None:
        if load is None:
            _refuse_what_is_missing(entry)
        self.name = entry.name
        self.timeout_seconds = entry.timeout_seconds
        self.poll_interval_seconds = entry.poll_interval_seconds
        self.max_images_per_call = entry.settings.max_images_per_call
        self._entry = entry
        self._decoder = decoder
        self._shapes = _shapes(entry.settings)
        self._diffusion = Diffusion(load or partial(torch_pipeline.load, entry.settings))

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """Returns the provider's entry in the catalogue."""
        settings = self._entry.settings
        return provider_pb2.Provider(
            name=self.name,
            kind=self._entry.kind,
            is_default=is_default,
            default_model=self._entry.model,
            models=[provider_pb2.Model(name=self._entry.model, price_micros_per_image=0)],
            capabilities=provider_pb2.Capabilities(
                max_images_per_call=self.max_images_per_call,
                aspect_ratios=list(self._shapes),
                min_side=settings.min_side,
                max_side=settings.max_side,
                side_multiple=settings.side_multiple,
                output_formats=OUTPUT_FORMATS,
                seed=True,
                negative_prompt=settings.uses_negative_prompt,
                max_input_images=1 if settings.accepts_images else 0,
                mask=settings.inpainting,
                idempotent=self.traits.idempotent,
                free=self.traits.free,
                resumable=self.traits.resumable,
            ),
            max_concurrency=self._entry.max_concurrency,
            aliases=self._entry.aliases,
            requests_per_minute=self._entry.requests_per_minute,
            timeout_seconds=int(self.timeout_seconds),
            option_rules=option_messages.of_entry(self._entry),
        )

    def images_per_call(self, model: str) -> int:
        """Returns the most images of one call."""
        return self.max_images_per_call

    def mask_form(self, model: str) -> MaskForm:
        """Returns WHITE: pipelines redraw the white area."""
        return MaskForm.WHITE

    async def submit(self, provider_request: ProviderRequest) -> Generated:
        """Draws the images. Raises `ProviderError`."""
        first = (
            provider_request.seed if provider_request.seed is not None else seed_of(provider_request.idempotency_key)
        )
        seeds = tuple((first + index) % SEEDS for index in range(provider_request.count))
        try:
            request = self._entry.request_for(provider_request.model, provider_request.request)
            drawing = await self._with_inputs(
                self._drawing(request, seeds, has_image=bool(provider_request.inputs)), provider_request
            )
            made = await self._diffusion.draw(drawing, provider_request.report)
        except DiffusionFailed as failure:
            raise classified(self.name, failure) from failure
        images = tuple(ImageSource(data=data, seed=seed) for data, seed in zip(made, seeds, strict=True))
        return Generated(images=images, cost_micros=0)

    async def poll(self, operation: Operation) -> Pending:
        """Is never called: there are no operations."""
        raise AssertionError(f"{self.name} has no operations")

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Is never called: there are no operations."""
        return False

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Is never called: there are no operations."""
        return CancelOutcome.UNSUPPORTED

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Returns no headers: no result is fetched."""
        return {}

    def price(self, model: str, count: int) -> int | None:
        """Returns 0."""
        return 0

    async def close(self) -> None:
        """Stops drawing and releases the model."""
        await self._diffusion.close()

    def _drawing(self, request: Request, seeds: tuple[int, ...], *, has_image: bool) -> Drawing:
        settings = self._entry.settings
        arguments = arguments_of(request.options, max_steps=settings.max_steps, has_image=has_image)
        is_guided = arguments.get("guidance_scale", 2) > 1
        if request.negative_prompt is not None and not (settings.uses_negative_prompt and is_guided):
            raise Unsupported("its model does not use a negative_prompt")
        has_mask = any(image.index < 0 for image in request.inputs)
        if has_image and not (settings.inpainting if has_mask else settings.image_to_image):
            raise Unsupported(f"its settings do not enable {'inpainting' if has_mask else 'image_to_image'}")
        return Drawing(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            seeds=seeds,
            size=self._size(request),
            output_format=request.output_format or DEFAULT_FORMAT,
            arguments=arguments,
        )

    async def _with_inputs(self, drawing: Drawing, provider_request: ProviderRequest) -> Drawing:
        """Returns the drawing with the call's input image and mask, cut to its size. Raises `ProviderError`."""
        attached = input_images.of_request(provider_request)
        if not attached.images:
            return drawing
        data = attached.images[0]
        size = drawing.size or self._entry.settings.size_near(size_of(data) or (0, 0))
        image = await input_images.converted(self._decoder.fitted(data, size))
        drawing = replace(drawing, image=Image.frombytes("RGB", size, image))
        if attached.mask is None:
            return drawing
        mask = await input_images.converted(self._decoder.fitted_mask(attached.mask, size))
        return replace(drawing, mask=Image.frombytes("L", size, mask))

    def _size(self, request: Request) -> tuple[int, int] | None:
        """Returns the size; None for the pipeline's default. Raises `Unsupported`, also for the file's defaults."""
        settings = self._entry.settings
        if request.aspect_ratio is not None:
            if request.aspect_ratio not in self._shapes:
                raise Unsupported(f"no size within its limits has the ratio {request.aspect_ratio}")
            return self._shapes[request.aspect_ratio]
        if request.size is None:
            return None
        width, height = (int(side) for side in request.size.split("x"))
        fits = range(settings.min_side, settings.max_side + 1, settings.side_multiple)
        if width not in fits or height not in fits:
            raise Unsupported(f"{request.size} is not within its limits")
        return width, height


def _shapes(settings: DiffusersSettings) -> dict[str, tuple[int, int]]:
    """Returns, for each ratio, the largest size within the limits of exactly this ratio, if there is one."""
    shapes = {}
    for ratio in RATIOS:
        across, down = (int(part) * settings.side_multiple for part in ratio.split(":"))
        times = settings.max_side // max(across, down)
        if min(across, down) * times >= settings.min_side:
            shapes[ratio] = (across * times, down * times)
    return shapes


def _refuse_what_is_missing(entry: DiffusersEntry) -> None:
    if missing := torch_pipeline.missing_libraries(entry.settings):
        raise ConfigError(f"provider {entry.name}: {', '.join(missing)} not installed; install with: {INSTALL}")
    folder = entry.settings.folder
    if folder is not None and not (folder / "model_index.json").is_file():
        raise ConfigError(f"provider {entry.name}: settings.path: {folder} contains no model_index.json.")
    for lora in entry.settings.loras:
        if lora.local_path is not None and not lora.local_path.exists():
            raise ConfigError(f"provider {entry.name}: settings.loras: {lora.local_path} does not exist.")
