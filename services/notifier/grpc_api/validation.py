"""Validates names that callers choose: tenants and idempotency keys."""

from services.notifier.domain.refusals import Violation, invalid
from services.notifier.grpc_api.status_codes import to_service_error

#: Characters.
LONGEST_TENANT, LONGEST_KEY = 64, 255


def check_names(tenant: str, key: str = "") -> None:
    """Checks a tenant, and a key: visible ASCII, or "" for none. Raises `ServiceError` INVALID_INPUT."""
    faults = [*_tenant_faults(tenant), *_key_faults(key)]
    if faults:
        raise to_service_error(invalid(*faults))


def _tenant_faults(tenant: str) -> list[Violation]:
    is_token = tenant.isascii() and all(character.isalnum() or character in "-_" for character in tenant)
    if is_token and 0 < len(tenant) <= LONGEST_TENANT:
        return []
    return [Violation(field="tenant", message=f"1 to {LONGEST_TENANT} letters, digits, - or _.")]


def _key_faults(key: str) -> list[Violation]:
    if len(key) <= LONGEST_KEY and all("!" <= character <= "~" for character in key):
        return []
    return [Violation(field="idempotency_key", message=f"1 to {LONGEST_KEY} visible ASCII characters.")]
