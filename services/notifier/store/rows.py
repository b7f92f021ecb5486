"""Converts rows to dataclasses, and values to parameters."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from common.sql import Connection, Row, text
from services.notifier.domain.attempts import AttemptError
from services.notifier.domain.endpoints import Endpoint, Kind, Secret, SignatureScheme
from services.notifier.domain.health import DisabledReason, EndpointHealth


def now(connection: Connection) -> datetime:
    """Returns the database's time."""
    current: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return current


def ids(values: Sequence[UUID]) -> list[str]:
    """Returns ids as a parameter for `CAST(:ids AS uuid[])`."""
    return [str(value) for value in values]


def as_parameter(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows as one parameter for `jsonb_to_recordset`; ids and times are written as text."""
    return json.dumps([dict(row) for row in rows], default=str)


def endpoint_from(row: Row) -> Endpoint:
    """Returns the endpoint of a row of `webhook_endpoints`."""
    return Endpoint(
        id=row["id"],
        tenant=row["tenant"],
        kind=Kind(row["kind"]),
        url=row["url"],
        description=row["description"],
        event_types=tuple(row["event_types"]),
        scheme=SignatureScheme(row["scheme"]),
        health=_health_from(row),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _health_from(row: Row) -> EndpointHealth:
    return EndpointHealth(
        failing_since=row["failing_since"],
        points=row["points"],
        window_started_at=row["window_started_at"],
        window_attempts=row["window_attempts"],
        window_points=row["window_points"],
        openings=row["openings"],
        blocked_until=row["blocked_until"],
        is_slow=row["is_slow"],
        last_error=None if row["last_error"] is None else AttemptError(row["last_error"]),
        last_status=row["last_status"],
        disabled_reason=None if row["disabled_reason"] is None else DisabledReason(row["disabled_reason"]),
        disabled_at=row["disabled_at"],
    )


def secret_from(row: Row) -> Secret:
    """Returns the secret of a row of `webhook_secrets`."""
    return Secret(
        id=row["id"],
        tenant=row["tenant"],
        endpoint_id=row["endpoint_id"],
        key=bytes(row["key"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
