"""Creates endpoints, once per idempotency key."""

from collections.abc import Callable

from calotype.error_reasons import Reason

from common.ids import new_uuid7, prefixed
from common.sql import Connection
from services.notifier.application.payloads import WEBHOOK
from services.notifier.application.webhook_requests import CreatedWebhook, NewWebhook, Webhook
from services.notifier.domain.refusals import Refusal, webhook_not_found
from services.notifier.store import cursor, endpoints, idempotency, secrets

#: Method of the idempotency keys of new endpoints.
METHOD = "create"


def create(connection: Connection, new: NewWebhook, *, per_tenant: int, new_key: Callable[[], bytes]) -> CreatedWebhook:
    """Creates an endpoint with its secret; the request is validated.

    Raises `Refusal`: IDEMPOTENCY_KEY_REUSED, QUOTA_EXCEEDED, NOT_FOUND if the key's endpoint was deleted.
    """
    endpoint_id = new_uuid7()
    if new.idempotency_key:
        first_use = idempotency.take(
            connection,
            new.tenant,
            METHOD,
            new.idempotency_key,
            fingerprint=new.fingerprint,
            created_id=endpoint_id,
        )
        if first_use is not None:
            return _replay(connection, new, first_use)
    endpoints.lock_tenant(connection, new.tenant)
    if endpoints.count(connection, new.tenant) >= per_tenant:
        raise Refusal(Reason.QUOTA_EXCEEDED, f"A tenant may have {per_tenant} webhooks.")
    cursor.hold(connection)
    endpoint = endpoints.create(
        connection,
        endpoint_id,
        tenant=new.tenant,
        url=new.url,
        description=new.description,
        event_types=tuple(dict.fromkeys(new.event_types)),
        scheme=new.scheme,
    )
    secret = secrets.add(connection, new.tenant, endpoint_id, new_key())
    return CreatedWebhook(webhook=Webhook(endpoint=endpoint, secrets=[secret]), secret=secret, replayed=False)


def _replay(connection: Connection, new: NewWebhook, first_use: idempotency.FirstUse) -> CreatedWebhook:
    check_fingerprint(first_use, new.fingerprint)
    endpoint = endpoints.get(connection, first_use.created_id)
    if endpoint is None:
        raise webhook_not_found(prefixed(WEBHOOK, first_use.created_id))
    live = secrets.live(connection, new.tenant, endpoint.id)
    return CreatedWebhook(webhook=Webhook(endpoint=endpoint, secrets=live), secret=live[0], replayed=True)


def check_fingerprint(first_use: idempotency.FirstUse, fingerprint: bytes) -> None:
    """Raises `Refusal` IDEMPOTENCY_KEY_REUSED unless a request is the one that used its key first."""
    if first_use.fingerprint != fingerprint:
        raise Refusal(Reason.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key was used before with another body.")
