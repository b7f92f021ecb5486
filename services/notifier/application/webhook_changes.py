"""Reads, changes and deletes endpoints."""

import json
from collections import Counter
from datetime import datetime
from uuid import UUID

from common.ids import parse
from common.sql import Connection
from services.notifier.application.page_tokens import PageTokens
from services.notifier.application.payloads import WEBHOOK
from services.notifier.application.webhook_requests import EndpointChange, Webhook
from services.notifier.domain import health as health_rules
from services.notifier.domain.endpoints import Endpoint, Kind
from services.notifier.domain.health import DisabledReason, EndpointHealth
from services.notifier.domain.refusals import Violation, invalid, webhook_not_found
from services.notifier.store import endpoints, idempotency, page_token_key, readiness, rows, secrets

#: Entries of a page without a size, and of the largest page.
DEFAULT_PAGE, LARGEST_PAGE = 20, 100


def find(connection: Connection, tenant: str, webhook_id: str, *, locked: bool = False) -> Endpoint:
    """Returns an endpoint that the tenant created. Raises `Refusal` NOT_FOUND, also for another tenant's."""
    try:
        endpoint = endpoints.get(connection, parse(WEBHOOK, webhook_id), locked=locked)
    except ValueError:
        raise webhook_not_found(webhook_id) from None
    if endpoint is None or endpoint.tenant != tenant or endpoint.kind is not Kind.ENDPOINT:
        raise webhook_not_found(webhook_id, hides=endpoint is not None and endpoint.tenant != tenant)
    return endpoint


def get(connection: Connection, tenant: str, webhook_id: str) -> Webhook:
    """Returns an endpoint with its secrets. Raises `Refusal` NOT_FOUND."""
    return _with_secrets(connection, find(connection, tenant, webhook_id))


def page_size_of(page_size: int) -> int:
    """Returns the number of entries of a page. Raises `Refusal` INVALID_INPUT for a negative one."""
    if page_size < 0:
        raise invalid(Violation(field="page_size", message=f"1 to {LARGEST_PAGE}."))
    return min(page_size or DEFAULT_PAGE, LARGEST_PAGE)


def list_page(connection: Connection, tenant: str, *, page_size: int, page_token: str) -> tuple[list[Webhook], str]:
    """Returns a page of a tenant's endpoints, oldest first, and the token of the next page ("" at the end).

    Raises `Refusal` INVALID_INPUT for a token of another list.
    """
    size = page_size_of(page_size)
    tokens = PageTokens(page_token_key.read(connection), of=json.dumps(["webhooks", tenant]))
    after = UUID(tokens.open(page_token)[0]) if page_token else None
    found = endpoints.page(connection, tenant, after=after, size=size + 1)
    page = found[:size]
    live = secrets.live_of_many(connection, endpoint_ids={endpoint.id for endpoint in page}, tenants=())
    webhooks = [
        Webhook(endpoint=endpoint, secrets=[secret for secret in live if secret.endpoint_id == endpoint.id])
        for endpoint in page
    ]
    return webhooks, tokens.seal(str(page[-1].id)) if len(found) > size else ""


def update(connection: Connection, tenant: str, webhook_id: str, change: EndpointChange) -> Webhook:
    """Changes an endpoint; the change is validated. Raises `Refusal` NOT_FOUND."""
    endpoint = find(connection, tenant, webhook_id, locked=True)
    url = endpoint.url if change.url is None else change.url
    event_types = endpoint.event_types if change.event_types is None else change.event_types
    changed = endpoints.change(
        connection,
        endpoint.id,
        url=url,
        description=endpoint.description if change.description is None else change.description,
        event_types=tuple(dict.fromkeys(event_types)),
    )
    health = _health(endpoint, change, is_moved=url != endpoint.url, now=rows.now(connection))
    if health != endpoint.health:
        changed = endpoints.write_health(connection, endpoint.id, health)
        readiness.refresh(connection, [endpoint.id])
    return _with_secrets(connection, changed)


def _health(endpoint: Endpoint, change: EndpointChange, *, is_moved: bool, now: datetime) -> EndpointHealth:
    is_disabled = endpoint.health.disabled_reason is not None
    if change.enabled is False and not is_disabled:
        return health_rules.disable(endpoint.health, DisabledReason.BY_TENANT, now)
    if is_disabled:
        return health_rules.enable() if change.enabled else endpoint.health
    return health_rules.enable() if is_moved else endpoint.health


def delete(connection: Connection, tenant: str, webhook_id: str) -> None:
    """Deletes an endpoint with its secrets; its deliveries follow in batches.

    An id that is not known was deleted, perhaps. Raises `Refusal` NOT_FOUND for what is no id.
    """
    try:
        endpoint = endpoints.get(connection, parse(WEBHOOK, webhook_id), locked=True)
    except ValueError:
        raise webhook_not_found(webhook_id) from None
    if endpoint is not None and endpoint.tenant == tenant and endpoint.kind is Kind.ENDPOINT:
        endpoints.delete(connection, endpoint.id)
        secrets.delete(connection, tenant, endpoint_id=endpoint.id)


def delete_tenant(connection: Connection, tenant: str) -> int:
    """Deletes all endpoints, secrets and idempotency keys of a tenant; returns the number of its endpoints.

    Deliveries follow in batches.
    """
    # An endpoint that is being created is deleted, too.
    endpoints.lock_tenant(connection, tenant)
    kinds = Counter(endpoints.delete_of_tenant(connection, tenant))
    secrets.delete(connection, tenant)
    idempotency.delete_of_tenant(connection, tenant)
    return kinds[Kind.ENDPOINT]


def _with_secrets(connection: Connection, endpoint: Endpoint) -> Webhook:
    return Webhook(endpoint=endpoint, secrets=secrets.live(connection, endpoint.tenant, endpoint.id))
