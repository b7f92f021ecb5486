"""Errors that adapters with operations share: lost, stopped, status unknown, or a response that no rule knows."""

from collections.abc import Mapping

from calotype.error_reasons import Code, Reason

from services.generator.domain import untrusted_text
from services.generator.domain.provider_results import Acceptance, Operation, ProviderError, VendorError

_NOTHING = VendorError()


def named(name: str, operation_id: object, state: Mapping[str, str], *, vendor: VendorError = _NOTHING) -> Operation:
    """Returns the operation that a response names; `state` keeps only values that can be stored as a name.

    Raises `ProviderError` if the id is none by which the operation could be found again.
    """
    if not isinstance(operation_id, str) or not untrusted_text.is_name(operation_id):
        raise unclassified(name, "an operation without a usable id", acceptance=Acceptance.UNKNOWN, vendor=vendor)
    kept = {key: value for key, value in state.items() if untrusted_text.is_name(value)}
    return Operation(id=operation_id, state=kept)


#: Shown to users in place of the provider's own text, which only operators see.
UNKNOWN_STATUS = "an unknown status"


def status(value: object) -> VendorError:
    """Returns the evidence of a status that no adapter knows."""
    return VendorError(code="status", message=f"status {str(value)[:100]!r}")


def status_unknown(
    name: str, what: str, *, retry_after: float | None = None, vendor: VendorError = _NOTHING
) -> ProviderError:
    """Returns the error of a request about an operation that failed; the operation itself may go on.

    `what` is the cause: a status, or what the response lacks. `retry_after` is in seconds.
    """
    return ProviderError(
        code=Code.TEMPORARY,
        reason=Reason.PROVIDER_UNAVAILABLE,
        message=f"{name} returned no status of the operation ({what}).",
        retryable=True,
        retry_after_seconds=retry_after,
        acceptance=Acceptance.UNKNOWN,
        vendor=vendor,
    )


def lost(name: str) -> ProviderError:
    """Returns the error of an operation that the provider no longer has."""
    return ProviderError(
        code=Code.TIMEOUT,
        reason=Reason.RESULT_LOST,
        message=f"{name} no longer knows this operation; its result is lost.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
    )


def stopped(name: str) -> ProviderError:
    """Returns the error of an operation that was canceled, or that reached the provider's deadline."""
    return ProviderError(
        code=Code.TIMEOUT,
        reason=Reason.PROVIDER_CANCELED,
        message=f"{name} stopped the operation before it was done.",
        retryable=True,
        acceptance=Acceptance.ACCEPTED,
    )


def unclassified(name: str, what: str, *, acceptance: Acceptance, vendor: VendorError = _NOTHING) -> ProviderError:
    """Returns the error of a response that no rule knows; `what` describes it, `vendor` is its evidence."""
    return ProviderError(
        code=Code.UNKNOWN,
        reason=Reason.UNCLASSIFIED,
        message=f"{name} returned {what}.",
        retryable=False,
        acceptance=acceptance,
        vendor=vendor,
    )
