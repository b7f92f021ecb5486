"""Names that callers choose: tenants, idempotency keys, fingerprints of requests."""

from services.job.domain.refusals import Refusal, Violation
from services.job.grpc_api.status_codes import to_service_error

LONGEST_TENANT = 64
LONGEST_KEY = 255
LONGEST_FINGERPRINT = 128


def check_names(tenant: str, key: str) -> None:
    """A tenant is a token of a NATS subject; a key is visible ASCII, or empty. Raises `ServiceError` INVALID_INPUT."""
    _refuse([*_tenant_faults(tenant), *_key_faults(key)])


def check_key(key: str) -> None:
    """The same of a key alone."""
    _refuse(_key_faults(key))


def check_fingerprint(fingerprint: str) -> None:
    """A fingerprint is visible ASCII, or empty. Raises `ServiceError` INVALID_INPUT."""
    if len(fingerprint) > LONGEST_FINGERPRINT or not all("!" <= one <= "~" for one in fingerprint):
        message = f"1 to {LONGEST_FINGERPRINT} visible ASCII characters."
        _refuse([Violation(field="fingerprint", message=message)])


def _tenant_faults(tenant: str) -> list[Violation]:
    if 0 < len(tenant) <= LONGEST_TENANT and all(one.isascii() and (one.isalnum() or one in "-_") for one in tenant):
        return []
    return [Violation(field="tenant", message="1 to 64 letters, digits, - or _.")]


def _key_faults(key: str) -> list[Violation]:
    if len(key) <= LONGEST_KEY and all("!" <= one <= "~" for one in key):
        return []
    return [Violation(field="idempotency_key", message="1 to 255 visible ASCII characters.")]


def _refuse(faults: list[Violation]) -> None:
    if faults:
        text = f"{faults[0].field}: {faults[0].message}"
        raise to_service_error(Refusal("INVALID_INPUT", text, violations=tuple(faults)))
