"""Decides whether requests without a key are allowed: only while no job can cost anything.

Reads job-service's current catalogue of providers, not the one at the gateway's start.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from calotype.error_reasons import Reason
from calotype.provider.v1 import provider_pb2

from gateway.problems.problem import Problem

Catalogue = Callable[[], Awaitable[Sequence[provider_pb2.Provider]]]
REFRESH_SECONDS = 1.0


class FreeUse:
    """Tracks whether every provider is free; `catalogue` raises `Problem` if it cannot be read."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        #: The last result; False until there is one.
        self.is_free = False

    async def check(self) -> bool:
        """Returns whether every provider is free now. Raises `Problem` SERVICE_UNAVAILABLE if that is unknown."""
        providers = await self._catalogue()
        self.is_free = bool(providers) and all(costs_nothing(provider) for provider in providers)
        if not providers:
            # An empty catalogue means that no generator has registered its providers yet, not that all are free.
            detail = "No provider has been registered yet. Try again in a moment, or send an API key."
            raise Problem(reason=Reason.SERVICE_UNAVAILABLE, detail=detail, retry_after_seconds=1)
        return self.is_free

    async def refresh(self) -> Mapping[str, int]:
        """Updates `is_free` for open streams; keeps the last result if job-service cannot be reached."""
        with suppress(Problem):
            await self.check()
        return {}


def costs_nothing(provider: provider_pb2.Provider) -> bool:
    """Returns whether no call of the provider can cost anything: its kind and all its models are free and unpriced."""
    return provider.capabilities.free and all(_is_free(model) for model in provider.models)


def _is_free(model: provider_pb2.Model) -> bool:
    return not model.price_micros_per_image and (model.capabilities.free or not model.HasField("capabilities"))
