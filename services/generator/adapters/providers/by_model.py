"""An entry whose models have different settings: one adapter for each model behind one provider."""

from collections.abc import Callable, Mapping

from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers.http.provider import RemoteProvider
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import CancelOutcome, Generated, Operation, Pending
from services.generator.ports import ProviderRequest


class ModelProviders:
    """A provider that passes each call to the adapter of its model.

    `whole` serves models that `by_model` does not list, and operations that began with an earlier provider file.
    """

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
        """Returns the catalogue's entry; a model has capabilities of its own where they differ from the entry's."""
        description = self._whole.describe(is_default=is_default)
        for model in description.models:
            own = self._of(model.name).describe(is_default=False).capabilities
            if own != description.capabilities:
                model.capabilities.CopyFrom(own)
        return description

    def images_per_call(self, model: str) -> int:
        """Returns the most images of one call by the model's settings."""
        return self._of(model).max_images_per_call

    def mask_form(self, model: str) -> MaskForm:
        """Returns the form of masks by the model's settings."""
        return self._of(model).mask_form(model)

    async def submit(self, provider_request: ProviderRequest) -> Generated | Operation:
        """Sends the request through the model's adapter."""
        return await self._of(provider_request.model).submit(provider_request)

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Polls an operation through its model's adapter."""
        return await self._adapter_of(operation).poll(operation)

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Reports progress through the model's adapter, if its API has a stream."""
        return await self._adapter_of(operation).watch(operation, report)

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Cancels an operation through its model's adapter."""
        return await self._adapter_of(operation).cancel(operation)

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Returns the headers for fetching a result; all models share one key and one address."""
        return self._whole.credential_for(url)

    def price(self, model: str, count: int) -> int | None:
        """Returns the price of `count` images by the provider file, in millionths of a US dollar; None without one."""
        return self._whole.price(model, count)

    async def close(self) -> None:
        """Closes the connections."""
        for provider in (self._whole, *self._by_model.values()):
            await provider.close()

    def _of(self, model: str) -> RemoteProvider:
        return self._by_model.get(model, self._whole)

    def _adapter_of(self, operation: Operation) -> RemoteProvider:
        return self._of(operation.state.get("model", ""))
