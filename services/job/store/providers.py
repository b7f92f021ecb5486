"""The catalogue: what each generator registered (`registrations`), and what comes of it for all (`providers`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from services.job.domain.offering import LIVE_SECONDS, OUTAGE_SECONDS, Registration
from services.job.domain.providers import Provider
from services.job.store import rows

ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(hashtextextended('providers', 0))
"""

REGISTER = """
INSERT INTO registrations (worker, name, description, started_at, registered_at)
SELECT :worker, told.name, told.description, clock_timestamp(), clock_timestamp()
FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS told (name text, description jsonb)
ON CONFLICT (worker, name) DO UPDATE SET
    description = excluded.description, registered_at = excluded.registered_at,
    started_at = CASE WHEN :is_starting THEN excluded.started_at ELSE registrations.started_at END
"""

# One that comes back after a pause is as old as it was, so it is remembered for a while.
FORGET_REGISTRATIONS = """
DELETE FROM registrations
WHERE worker = :worker AND name <> ALL(:names) OR registered_at < clock_timestamp() - interval '1 day'
"""

LIVE = """
SELECT worker, description, started_at, registered_at FROM registrations
WHERE registered_at > clock_timestamp() - make_interval(secs => :seconds)
"""

WRITE_CATALOGUE = """
INSERT INTO providers (name, description, is_default, registered_by, registered_at)
SELECT told.name, told.description, told.is_default, told.registered_by, told.registered_at
FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS told
    (name text, description jsonb, is_default boolean, registered_by text, registered_at timestamptz)
ORDER BY told.name
ON CONFLICT (name) DO UPDATE SET
    description = excluded.description, is_default = excluded.is_default,
    registered_by = excluded.registered_by, registered_at = excluded.registered_at
"""

# There is one default. A provider that has gone must not keep it.
YIELD_DEFAULT = """
UPDATE providers SET is_default = false, description = jsonb_set(description, '{is_default}', 'false')
WHERE is_default AND name <> :default
"""

# Not "by now": while no generator is there at all, what they offered last is what they will offer again.
OFFERED = """
SELECT description FROM providers
WHERE registered_at > greatest(
    (SELECT max(registered_at) FROM providers), clock_timestamp() - make_interval(secs => :outage)
) - make_interval(secs => :seconds)
ORDER BY name
"""


def lock_catalogue(connection: Connection) -> None:
    """Let generators register one after the other, each seen by the next; until commit."""
    connection.execute(text(ONE_AT_A_TIME))


def register(connection: Connection, worker: str, providers: Sequence[Provider], *, is_starting: bool) -> None:
    """Write down what a worker offers, in place of what it offered before."""
    told = [{"name": one.name, "description": rows.to_json(one)} for one in providers]
    named = {"worker": worker, "told": rows.as_parameter(told), "is_starting": is_starting}
    connection.execute(text(REGISTER), named)
    connection.execute(text(FORGET_REGISTRATIONS), {"worker": worker, "names": [one.name for one in providers]})


def live(connection: Connection) -> list[Registration]:
    """What generators offer that registered of late."""
    found = connection.execute(text(LIVE), {"seconds": LIVE_SECONDS}).mappings()
    return [rows.from_json(Registration, dict(row) | {"provider": row["description"]}) for row in found]


def write(connection: Connection, offers: Sequence[Registration]) -> None:
    """Replace what is known of the offered providers; the default among them is the only one."""
    told = [
        {
            "name": one.provider.name,
            "description": rows.to_json(one.provider),
            "is_default": one.provider.is_default,
            "registered_by": one.worker,
            "registered_at": one.registered_at,
        }
        for one in offers
    ]
    connection.execute(text(WRITE_CATALOGUE), {"told": rows.as_parameter(told)})
    if default := next((one.provider.name for one in offers if one.provider.is_default), None):
        connection.execute(text(YIELD_DEFAULT), {"default": default})


def catalogue(connection: Connection) -> dict[str, Provider]:
    """Every provider by name, those that are gone too: what is under way still knows them."""
    return _read(connection, "SELECT description FROM providers ORDER BY name")


def offered(connection: Connection) -> dict[str, Provider]:
    """Providers for new jobs, by name: those that generators still have."""
    return _read(connection, OFFERED, seconds=LIVE_SECONDS, outage=OUTAGE_SECONDS)


def _read(connection: Connection, statement: str, **parameters: object) -> dict[str, Provider]:
    found = connection.execute(text(statement), parameters).scalars()
    providers = [rows.from_json(Provider, description) for description in found]
    return {provider.name: provider for provider in providers}


class Registered(NamedTuple):
    """Who told of a provider last, and when."""

    by: str
    at: datetime


def registrations(connection: Connection) -> dict[str, Registered]:
    """Who told of each provider."""
    found = connection.execute(text("SELECT name, registered_by, registered_at FROM providers"))
    return {name: Registered(by, at) for name, by, at in found}
