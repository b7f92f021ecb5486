"""An entry whose models differ: an adapter for each of them, which knows that model's settings alone."""

from collections.abc import Callable, Mapping

from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import CancelOutcome, Generated, Operation, Pending
from services.generator.ports import Order


class ModelProviders:
    """One provider to everybody else. `whole` serves what `by_model` does not list, and operations of earlier files."""

    def __init__(self, whole: RemoteProvider, by_model: Mapping[str, RemoteProvider]) -> None:
        self.name = whole.name
        self.traits = whole.traits
        self.max_images_per_call = whole.max_images_per_call
        self.timeout_seconds = whole.timeout_seconds
        self.poll_interval_seconds = whole.poll_interval_seconds
        self.trusted_host = whole.trusted_host
        self.allow_private_addresses = whole.allow_private_addresses
        self._whole = whole
        self._by_model = by_model

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """The entry of the catalogue: what a model can do is said of it where that is not what the entry says."""
        told = self._whole.describe(is_default=is_default)
        for model in told.models:
            own = self._of(model.name).describe(is_default=False).capabilities
            if own != told.capabilities:
                model.capabilities.CopyFrom(own)
        return told

    def images_per_call(self, model: str) -> int:
        """As the model's own settings say."""
        return self._of(model).max_images_per_call

    def mask_form(self, model: str) -> MaskForm:
        """As the model's own settings say."""
        return self._of(model).mask_form(model)

    async def submit(self, order: Order) -> Generated | Operation:
        """Send the request as its model takes it."""
        return await self._of(order.model).submit(order)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Look how an operation stands."""
        return await self._following(operation).poll(operation)

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Report progress, where it is told."""
        return await self._following(operation).watch(operation, report)

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Ask for an operation to be stopped."""
        return await self._following(operation).cancel(operation)

    def credential_for(self, url: str) -> Mapping[str, str]:
        """As for any model of the entry: they have one key and one address."""
        return self._whole.credential_for(url)

    def price(self, model: str, count: int) -> int | None:
        """What so many images of a model cost by the provider file."""
        return self._whole.price(model, count)

    async def close(self) -> None:
        """Let go of connections."""
        for provider in (self._whole, *self._by_model.values()):
            await provider.close()

    def _of(self, model: str) -> RemoteProvider:
        return self._by_model.get(model, self._whole)

    def _following(self, operation: Operation) -> RemoteProvider:
        return self._of(operation.state.get("model", ""))
