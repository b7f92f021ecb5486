"""What every adapter with operations says of one: it has begun, is gone, was stopped, or its state was not told."""

from collections.abc import Mapping

from services.generator.domain import foreign_text
from services.generator.domain.provider_results import Acceptance, Operation, ProviderError, VendorError

_NOTHING = VendorError()


def named(name: str, told: object, state: Mapping[str, str], *, vendor: VendorError = _NOTHING) -> Operation:
    """An operation by the id that an answer gave it; of its state what can be kept.

    Raises `ProviderError` where there is none by which it could be found again.
    """
    if not isinstance(told, str) or not foreign_text.is_name(told):
        raise unclassified(name, "an operation without a usable id", acceptance=Acceptance.UNKNOWN, vendor=vendor)
    return Operation(id=told, state={key: value for key, value in state.items() if foreign_text.is_name(value)})


#: In place of the vendor's own word, which is for operators.
UNKNOWN_STATUS = "a status that is not known"


def status(told: object) -> VendorError:
    """What is kept of a status that no adapter knows."""
    return VendorError(code="status", message=f"status {str(told)[:100]!r}")


def not_told(
    name: str, what: str, *, retry_after: float | None = None, vendor: VendorError = _NOTHING
) -> ProviderError:
    """The operation goes on, only its state was not told."""
    return ProviderError(
        code="TEMPORARY",
        reason="PROVIDER_UNAVAILABLE",
        message=f"{name} does not tell how the operation stands ({what}).",
        retryable=True,
        retry_after_seconds=retry_after,
        acceptance=Acceptance.UNKNOWN,
        vendor=vendor,
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


def unclassified(name: str, what: str, *, acceptance: Acceptance, vendor: VendorError = _NOTHING) -> ProviderError:
    """An answer that no rule knows; `vendor` is what is kept of it."""
    return ProviderError(
        code="UNKNOWN",
        reason="UNCLASSIFIED",
        message=f"{name} answered with {what}.",
        retryable=False,
        acceptance=acceptance,
        vendor=vendor,
    )
