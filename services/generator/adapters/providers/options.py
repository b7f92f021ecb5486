"""Options of a job that a provider is not asked with, because their answer could not be read."""

from services.generator.domain.outcomes import Acceptance, ProviderError


def not_taken(name: str, option: str, why: str) -> ProviderError:
    """An option that is refused before anything is sent."""
    return ProviderError(
        code="PERMANENT",
        reason="UNSUPPORTED",
        message=f"{name} cannot be given the option {option}: {why}.",
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
