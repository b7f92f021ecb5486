"""The table `providers`: the catalogue that generators register."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from services.job.domain.requests import Provider
from services.job.store import rows

REGISTER_PROVIDERS = """
INSERT INTO providers (name, description, is_default, registered_by, registered_at)
SELECT told.name, told.description, told.is_default, :worker, clock_timestamp()
FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS told (name text, description jsonb, is_default boolean)
ORDER BY told.name
ON CONFLICT (name) DO UPDATE SET
    description = excluded.description, is_default = excluded.is_default,
    registered_by = excluded.registered_by, registered_at = excluded.registered_at
"""

# There is one default: that of the generator which registered last. One whose file has gone must not keep it.
YIELD_DEFAULT = """
UPDATE providers SET is_default = false, description = jsonb_set(description, '{is_default}', 'false')
WHERE is_default AND name <> ALL(:names)
"""


def register(connection: Connection, worker: str, providers: Sequence[Provider]) -> None:
    """Replace what is known of the named providers."""
    told = [{"name": one.name, "description": rows.to_json(one), "is_default": one.is_default} for one in providers]
    connection.execute(text(REGISTER_PROVIDERS), {"worker": worker, "told": rows.as_parameter(told)})
    if any(one.is_default for one in providers):
        connection.execute(text(YIELD_DEFAULT), {"names": [one.name for one in providers]})


def catalogue(connection: Connection) -> dict[str, Provider]:
    """Every provider by name."""
    found = connection.execute(text("SELECT description FROM providers ORDER BY name")).scalars()
    providers = [rows.from_json(Provider, description) for description in found]
    return {provider.name: provider for provider in providers}


class Registration(NamedTuple):
    """Who told of a provider last, and when."""

    by: str
    at: datetime


def registrations(connection: Connection) -> dict[str, Registration]:
    """Who told of each provider."""
    found = connection.execute(text("SELECT name, registered_by, registered_at FROM providers"))
    return {name: Registration(by, at) for name, by, at in found}
