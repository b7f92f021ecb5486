"""Validates names that callers choose: tenants, idempotency keys, fingerprints of requests."""

from calotype.error_reasons import Reason

from services.job.domain.refusals import Refusal, Violation
from services.job.grpc_api.status_codes import to_service_error

#: Characters.
LONGEST_TENANT = 64
LONGEST_KEY = 255
LONGEST_FINGERPRINT = 128


def check_names(tenant: str, key: str) -> None:
    """Checks a tenant, which is a token of NATS subjects, and a key: visible ASCII, or "" for none.

    Raises `ServiceError` INVALID_INPUT.
    """
    _refuse([*_tenant_faults(tenant), *_key_faults(key)])


def check_key(key: str) -> None:
    """Checks a key: visible ASCII, or "" for none. Raises `ServiceError` INVALID_INPUT."""
    _refuse(_key_faults(key))


def check_fingerprint(fingerprint: str) -> None:
    """Checks a fingerprint: visible ASCII, or "" for none. Raises `ServiceError` INVALID_INPUT."""
    _refuse(_fingerprint_faults(fingerprint))


def item_refusal(key: str, fingerprint: str) -> Refusal | None:
    """Returns the refusal INVALID_INPUT of an item's key and fingerprint, "" for none; None for valid ones."""
    faults = [*_key_faults(key), *_fingerprint_faults(fingerprint)]
    return _refusal(faults) if faults else None


def _tenant_faults(tenant: str) -> list[Violation]:
    if (
        0 < len(tenant) <= LONGEST_TENANT
        and tenant.isascii()
        and all(char.isalnum() or char in "-_" for char in tenant)
    ):
        return []
    return [Violation(field="tenant", message="1 to 64 letters, digits, - or _.")]


def _is_visible_ascii(name: str) -> bool:
    return all("!" <= char <= "~" for char in name)


def _key_faults(key: str) -> list[Violation]:
    if len(key) <= LONGEST_KEY and _is_visible_ascii(key):
        return []
    return [Violation(field="idempotency_key", message="1 to 255 visible ASCII characters.")]


def _fingerprint_faults(fingerprint: str) -> list[Violation]:
    if len(fingerprint) <= LONGEST_FINGERPRINT and _is_visible_ascii(fingerprint):
        return []
    return [Violation(field="fingerprint", message=f"1 to {LONGEST_FINGERPRINT} visible ASCII characters.")]


def _refuse(faults: list[Violation]) -> None:
    if faults:
        raise to_service_error(_refusal(faults))


def _refusal(faults: list[Violation]) -> Refusal:
    return Refusal(Reason.INVALID_INPUT, f"{faults[0].field}: {faults[0].message}", violations=tuple(faults))
