"""The provider kind `procedural`: images drawn from the prompt by rules, on this machine, free, without AI."""

from collections.abc import Callable, Mapping

from calotype.error_reasons import Code, Reason
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import option_messages
from services.generator.adapters.providers.procedural.entry import ProceduralEntry
from services.generator.adapters.providers.procedural.process_pool import Renderers, RenderersBroken
from services.generator.adapters.providers.seeds import seed_of
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

DEFAULT_SIZE = "1024x1024"
DEFAULT_FORMAT = "png"
SHORTEST_SIDE, LONGEST_SIDE = 64, 2048
ASPECT_RATIOS = {
    "1:1": "1024x1024",
    "16:9": "1344x756",
    "9:16": "756x1344",
    "4:3": "1184x888",
    "3:4": "888x1184",
    "3:2": "1254x836",
    "2:3": "836x1254",
}


class ProceduralProvider:
    """Draws synchronously; the same seed, prompt and size repeat the image."""

    traits = Traits(free=True, idempotent=True, resumable=False)
    max_images_per_call = 1
    trusted_host: str | None = None
    allow_private_addresses = False

    def __init__(self, entry: ProceduralEntry, renderers: Renderers) -> None:
        self.name = entry.name
        self.timeout_seconds = entry.timeout_seconds
        self.poll_interval_seconds = entry.poll_interval_seconds
        self._entry = entry
        self._renderers = renderers

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """Returns the provider's entry in the catalogue."""
        return provider_pb2.Provider(
            name=self.name,
            kind=self._entry.kind,
            is_default=is_default,
            default_model=self._entry.model,
            models=[provider_pb2.Model(name=self._entry.model, price_micros_per_image=0)],
            capabilities=provider_pb2.Capabilities(
                max_images_per_call=self.max_images_per_call,
                aspect_ratios=list(ASPECT_RATIOS),
                min_side=SHORTEST_SIDE,
                max_side=LONGEST_SIDE,
                side_multiple=1,
                output_formats=["png", "jpeg", "webp"],
                seed=True,
                negative_prompt=True,
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
        """Is never used: masks are not supported."""
        return MaskForm.WHITE

    async def submit(self, provider_request: ProviderRequest) -> Generated:
        """Draws the image. Raises `ProviderError`."""
        request = self._entry.request_for(provider_request.model, provider_request.request)
        seed = provider_request.seed if provider_request.seed is not None else seed_of(provider_request.idempotency_key)
        size = request.size or ASPECT_RATIOS.get(request.aspect_ratio or "", DEFAULT_SIZE)
        try:
            width, height = (int(side) for side in size.split("x"))
            data = await self._renderers.draw(
                provider_request.report,
                prompt=request.prompt,
                negative_prompt=request.negative_prompt,
                seed=seed,
                width=width,
                height=height,
                output_format=request.output_format or DEFAULT_FORMAT,
            )
        except ValueError as error:
            raise _unsupported(f"{self.name} cannot draw {size}: {error}.") from error
        except RenderersBroken as error:
            raise _interrupted(self.name) from error
        return Generated(images=(ImageSource(data=data, seed=seed),), cost_micros=0)

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
        """Has nothing to close: the caller owns the processes."""


def _unsupported(message: str) -> ProviderError:
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.UNSUPPORTED,
        message=message,
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )


def _interrupted(name: str) -> ProviderError:
    return ProviderError(
        code=Code.TEMPORARY,
        reason=Reason.PROVIDER_UNAVAILABLE,
        message=f"{name} was interrupted while it was drawing.",
        retryable=True,
        acceptance=Acceptance.ACCEPTED,
    )
