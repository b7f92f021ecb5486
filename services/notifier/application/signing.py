"""Secrets that sign deliveries: the tenant's own one for callback URLs, and rotation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from calotype.error_reasons import Reason

from common.ids import new_uuid7
from common.sql import Connection
from services.notifier.application import webhook_changes
from services.notifier.application.webhook_creation import check_fingerprint
from services.notifier.application.webhook_requests import digest
from services.notifier.domain.endpoints import Secret, SignatureScheme
from services.notifier.domain.refusals import Refusal, Violation, invalid
from services.notifier.store import idempotency, secrets

#: Method of the idempotency keys of rotations.
METHOD = "rotate"
#: Seconds for which an old secret signs, too: without a number in the request, and at most.
DEFAULT_GRACE, LONGEST_GRACE = 86_400, 604_800


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """A request for a new secret."""

    #: Owner.
    tenant: str
    #: Endpoint; "" for the tenant's signing secret.
    webhook_id: str
    #: The caller's key; "" for none.
    idempotency_key: str
    #: Seconds for which the old secret signs, too; None for `DEFAULT_GRACE`.
    grace_seconds: int | None

    @property
    def grace(self) -> int:
        """Seconds for which the old secret signs, too."""
        return DEFAULT_GRACE if self.grace_seconds is None else self.grace_seconds


@dataclass(frozen=True, kw_only=True)
class RotatedSecret:
    """Result of a rotation."""

    #: The new secret.
    secret: Secret
    #: How deliveries are signed with it.
    scheme: SignatureScheme
    #: When the old secret stops to sign; None without an old one.
    old_expires_at: datetime | None
    #: Whether the idempotency key was known and nothing was changed.
    replayed: bool


def signing_secrets(connection: Connection, tenant: str, *, new_key: Callable[[], bytes]) -> Sequence[Secret]:
    """Returns the secrets that sign deliveries to callback URLs now, newest first; creates the first one."""
    live = secrets.live(connection, tenant, None)
    if not live or live[0].expires_at is not None:
        secrets.lock_owner(connection, tenant, None)
        secrets.add_for_tenants(connection, {tenant: new_key()})
        live = secrets.live(connection, tenant, None)
    return live


def rotate(connection: Connection, rotation: Rotation, *, new_key: Callable[[], bytes]) -> RotatedSecret:
    """Creates a new secret; the old one signs, too, for a grace period.

    Raises `Refusal` INVALID_INPUT, NOT_FOUND, IDEMPOTENCY_KEY_REUSED.
    """
    if not 0 <= rotation.grace <= LONGEST_GRACE:
        raise invalid(Violation(field="grace_seconds", message=f"0 to {LONGEST_GRACE:,}."))
    endpoint_id, scheme, tenant = None, SignatureScheme.V1, rotation.tenant
    if rotation.webhook_id:
        endpoint = webhook_changes.find(connection, tenant, rotation.webhook_id, locked=True)
        endpoint_id, scheme = endpoint.id, endpoint.scheme
    secrets.lock_owner(connection, tenant, endpoint_id)
    secret_id = new_uuid7()
    if rotation.idempotency_key and (first_use := _take(connection, rotation, secret_id)) is not None:
        return _replay(connection, first_use, endpoint_id, scheme)
    old_expires_at = secrets.retire(connection, tenant, endpoint_id, grace_seconds=rotation.grace)
    secret = secrets.add(connection, tenant, endpoint_id, new_key(), secret_id=secret_id)
    return RotatedSecret(secret=secret, scheme=scheme, old_expires_at=old_expires_at, replayed=False)


def _take(connection: Connection, rotation: Rotation, secret_id: UUID) -> idempotency.FirstUse | None:
    fingerprint = digest(rotation.webhook_id, rotation.grace)
    first_use = idempotency.take(
        connection,
        rotation.tenant,
        METHOD,
        rotation.idempotency_key,
        fingerprint=fingerprint,
        created_id=secret_id,
    )
    if first_use is not None:
        check_fingerprint(first_use, fingerprint)
    return first_use


def _replay(
    connection: Connection, first_use: idempotency.FirstUse, endpoint_id: UUID | None, scheme: SignatureScheme
) -> RotatedSecret:
    secret = secrets.get(connection, first_use.created_id)
    if secret is None:
        raise Refusal(Reason.NOT_FOUND, "The secret that this Idempotency-Key created has expired.")
    others = secrets.live(connection, secret.tenant, endpoint_id)
    ends = [other.expires_at for other in others if other.created_at < secret.created_at]
    return RotatedSecret(secret=secret, scheme=scheme, old_expires_at=next(iter(ends), None), replayed=True)
