"""Whether a job can cost anything: the catalogue as job-service has it now, not as it was when the gateway started."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from calotype.provider.v1 import provider_pb2

from gateway.problems.problem import Problem

Catalogue = Callable[[], Awaitable[Sequence[provider_pb2.Provider]]]
LOOK_SECONDS = 1.0


class FreeUse:
    """Says whether every provider is free; `catalogue` raises `Problem` where it cannot be read."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        #: As it was found last; false before it was found at all.
        self.is_free = False

    async def ask(self) -> bool:
        """Whether every provider is free now. Raises `Problem` SERVICE_UNAVAILABLE while that is not known."""
        providers = await self._catalogue()
        self.is_free = bool(providers) and all(costs_nothing(one) for one in providers)
        if not providers:
            # Generators have not said yet what they have; none is no reason to believe that all are free.
            detail = "Which providers there are is not known yet; ask again, or send a key."
            raise Problem(reason="SERVICE_UNAVAILABLE", detail=detail, retry_after_seconds=1)
        return self.is_free

    async def look(self) -> Mapping[str, int]:
        """Ask for those who are let in already, such as readers of a stream; an outage changes nothing for them."""
        with suppress(Problem):
            await self.ask()
        return {}


def costs_nothing(provider: provider_pb2.Provider) -> bool:
    """Whether no call of the provider can cost anything: its kind is free, and so is each model, with no price."""
    return provider.capabilities.free and all(_is_free(model) for model in provider.models)


def _is_free(model: provider_pb2.Model) -> bool:
    return not model.price_micros_per_image and (model.capabilities.free or not model.HasField("capabilities"))
