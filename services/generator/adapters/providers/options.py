"""Options of a job that a provider is not asked with, because their answer could not be read."""

from services.generator.domain.provider_results import Acceptance, ProviderError


def not_taken(name: str, option: str, why: str) -> ProviderError:
    """An option that is refused before anything is sent."""
    return ProviderError(
        code="PERMANENT",
        reason="UNSUPPORTED",
        message=f"{name} cannot be given the option {option}: {why}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )


def needs(name: str, model: str, what: str) -> ProviderError:
    """A request that a model cannot do anything with, refused before anything is sent."""
    return ProviderError(
        code="PERMANENT",
        reason="INVALID_INPUT",
        message=f"{model[:100]} of {name} needs {what}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
