"""What every adapter with operations raises: the operation is gone, was stopped, or its state was not told."""

from services.generator.domain.outcomes import Acceptance, ProviderError


def not_told(name: str, what: str, *, retry_after: float | None = None) -> ProviderError:
    """The operation goes on, only its state was not told."""
    return ProviderError(
        code="TEMPORARY",
        reason="PROVIDER_UNAVAILABLE",
        message=f"{name} does not tell how the operation stands ({what}).",
        retryable=True,
        retry_after_seconds=retry_after,
        acceptance=Acceptance.UNKNOWN,
    )


def gone(name: str) -> ProviderError:
    """The operation is not there any more."""
    return ProviderError(
        code="TIMEOUT",
        reason="RESULT_LOST",
        message=f"{name} no longer knows this operation; its result is lost.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
    )


def stopped(name: str) -> ProviderError:
    """The operation was stopped, at somebody's wish or by its own deadline."""
    return ProviderError(
        code="TIMEOUT",
        reason="PROVIDER_CANCELED",
        message=f"{name} stopped the operation before it was done.",
        retryable=True,
        acceptance=Acceptance.ACCEPTED,
    )


def unclassified(name: str, what: str, *, acceptance: Acceptance) -> ProviderError:
    """An answer that no rule knows."""
    return ProviderError(
        code="UNKNOWN",
        reason="UNCLASSIFIED",
        message=f"{name} answered with {what}.",
        retryable=False,
        acceptance=acceptance,
    )
