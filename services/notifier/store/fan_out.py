"""Creates the deliveries of a page of final events: a constant number of statements per page."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from common.ids import new_uuid7
from common.sql import Connection, text
from services.notifier.domain.endpoints import Endpoint, Kind, wants
from services.notifier.domain.events import JobEvent
from services.notifier.domain.urls import origin
from services.notifier.store import job_order, readiness, rows, secrets

#: Days after which a delivery to a callback URL fails: its origin is never disabled, and may never work again.
CALLBACK_DAYS = 5
#: Times that origins are created: another transaction may delete one that is there before this one locks it.
MAX_TRIES = 5

CREATE_ORIGINS = """
INSERT INTO webhook_endpoints (id, tenant, kind, url)
SELECT id, tenant, 'callback', url
FROM jsonb_to_recordset(CAST(:origins AS jsonb)) AS origin (id uuid, tenant text, url text)
ON CONFLICT (tenant, url) WHERE kind = 'callback' AND deleted_at IS NULL DO NOTHING
"""

FIND_ENDPOINTS = """
SELECT id FROM webhook_endpoints
WHERE tenant = ANY(CAST(:tenants AS text[])) AND kind = 'endpoint' AND deleted_at IS NULL
    AND (event_types = '{}' OR event_types && CAST(:types AS text[]))
UNION ALL
SELECT endpoint.id FROM jsonb_to_recordset(CAST(:origins AS jsonb)) AS origin (tenant text, url text)
JOIN webhook_endpoints AS endpoint ON endpoint.tenant = origin.tenant AND endpoint.url = origin.url
    AND endpoint.kind = 'callback' AND endpoint.deleted_at IS NULL
"""

# Apart from the search: PostgreSQL evaluates a condition again for each row that changed while it waited for the lock,
# and a join may then lose rows. In the order of ids, as everybody locks several endpoints.
LOCK_ENDPOINTS = """
SELECT * FROM webhook_endpoints WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NULL ORDER BY id FOR UPDATE
"""

# Waiting, until the order of the job's deliveries is known.
CREATE_DELIVERIES = f"""
INSERT INTO webhook_deliveries
    (id, endpoint_id, tenant, url, event_type, job_id, sequence, occurred_at, state, ended_at, expires_at)
SELECT id, endpoint_id, tenant, url, event_type, job_id, sequence, occurred_at,
    CASE WHEN is_held THEN 'held' ELSE 'waiting' END, CASE WHEN is_held THEN clock_timestamp() END,
    CASE WHEN url IS NOT NULL THEN clock_timestamp() + interval '{CALLBACK_DAYS} days' END
FROM jsonb_to_recordset(CAST(:deliveries AS jsonb)) AS delivery (
    id uuid, endpoint_id uuid, tenant text, url text, event_type text, job_id text, sequence bigint,
    occurred_at timestamptz, is_held boolean)
ON CONFLICT DO NOTHING
RETURNING id, endpoint_id, job_id
"""  # noqa: S608

#: Tenant and origin of callback URLs.
Origin = tuple[str, str]


def fan_out(connection: Connection, events: Sequence[JobEvent], *, new_key: Callable[[], bytes]) -> int:
    """Creates the deliveries of events; returns their number. An event whose deliveries exist changes nothing.

    `new_key` creates the signing secret of a tenant that has none.
    """
    origins = {(event.tenant, origin(event.callback_url)) for event in events if event.callback_url is not None}
    secrets.add_for_tenants(connection, {tenant: new_key() for tenant, _ in origins})
    locked = _lock(connection, events, origins)
    deliveries = _deliveries(events, locked)
    if not deliveries:
        return 0
    parameters = {"deliveries": rows.as_parameter(deliveries)}
    inserted = connection.execute(text(CREATE_DELIVERIES), parameters).all()
    job_order.supersede_around(connection, [row.id for row in inserted])
    job_order.arrange(connection, {(row.endpoint_id, row.job_id) for row in inserted})
    readiness.refresh(connection, {row.endpoint_id for row in inserted})
    return len(inserted)


def _lock(connection: Connection, events: Sequence[JobEvent], origins: Collection[Origin]) -> list[Endpoint]:
    """Locks the endpoints that may get one of the events; creates the missing rows of origins."""
    wanted = [{"id": new_uuid7(), "tenant": tenant, "url": url} for tenant, url in sorted(origins)]
    parameters = {
        "tenants": sorted({event.tenant for event in events}),
        "types": sorted({event.type for event in events}),
        "origins": rows.as_parameter(wanted),
    }
    for _ in range(MAX_TRIES):
        if wanted:
            connection.execute(text(CREATE_ORIGINS), {"origins": parameters["origins"]})
        ids = connection.execute(text(FIND_ENDPOINTS), parameters).scalars().all()
        locked = connection.execute(text(LOCK_ENDPOINTS), {"ids": rows.ids(sorted(ids))}).mappings()
        found = [rows.endpoint_from(row) for row in locked]
        if len(origins) == sum(endpoint.kind is Kind.CALLBACK for endpoint in found):
            return found
    raise RuntimeError("origins of callback URLs are deleted as fast as they are created")


def _deliveries(events: Sequence[JobEvent], endpoints: Sequence[Endpoint]) -> list[Mapping[str, Any]]:
    """Returns a row for each event and each endpoint that it is delivered to, in the order of the events."""
    of_tenant: dict[str, list[Endpoint]] = {}
    of_origin: dict[Origin, Endpoint] = {}
    for endpoint in endpoints:
        if endpoint.kind is Kind.CALLBACK:
            of_origin[endpoint.tenant, endpoint.url] = endpoint
        else:
            of_tenant.setdefault(endpoint.tenant, []).append(endpoint)
    deliveries = []
    for event in events:
        deliveries += [_delivery(event, each) for each in of_tenant.get(event.tenant, ()) if wants(each, event)]
        if event.callback_url is not None:
            deliveries.append(_delivery(event, of_origin[event.tenant, origin(event.callback_url)]))
    return deliveries


def _delivery(event: JobEvent, endpoint: Endpoint) -> Mapping[str, Any]:
    return {
        "id": new_uuid7(),
        "endpoint_id": endpoint.id,
        "tenant": event.tenant,
        "url": event.callback_url if endpoint.kind is Kind.CALLBACK else None,
        "event_type": event.type,
        "job_id": event.job_id,
        "sequence": event.sequence,
        "occurred_at": event.occurred_at.isoformat(),
        "is_held": endpoint.health.disabled_reason is not None,
    }
