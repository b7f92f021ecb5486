"""The catalogue: what each generator registered (`registrations`), and the merged result (`providers`)."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from common.sql import Connection, text
from services.job.domain.offering import LIVE_SECONDS, OUTAGE_SECONDS, Registration
from services.job.domain.providers import Provider
from services.job.store import rows

LOCK_CATALOGUE = """
SELECT pg_advisory_xact_lock(hashtextextended('providers', 0))
"""

REGISTER = """
INSERT INTO registrations (worker, name, description, started_at, registered_at)
SELECT :worker, offered.name, offered.description, clock_timestamp(), clock_timestamp()
FROM jsonb_to_recordset(CAST(:offered AS jsonb)) AS offered (name text, description jsonb)
ON CONFLICT (worker, name) DO UPDATE SET
    description = excluded.description, registered_at = excluded.registered_at,
    started_at = CASE WHEN :is_starting THEN excluded.started_at ELSE registrations.started_at END
"""

# A worker that returns after a pause keeps its `started_at`, so its registrations are kept for a day.
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
SELECT offered.name, offered.description, offered.is_default, offered.registered_by, offered.registered_at
FROM jsonb_to_recordset(CAST(:offered AS jsonb)) AS offered
    (name text, description jsonb, is_default boolean, registered_by text, registered_at timestamptz)
ORDER BY offered.name
ON CONFLICT (name) DO UPDATE SET
    description = excluded.description, is_default = excluded.is_default,
    registered_by = excluded.registered_by, registered_at = excluded.registered_at
"""

# There is one default: a provider that is no longer offered must not keep it.
YIELD_DEFAULT = """
UPDATE providers SET is_default = false, description = jsonb_set(description, '{is_default}', 'false')
WHERE is_default AND name <> :default
"""

# Compared with the newest registration instead of the current time: while no generator runs at all, the last offer
# stays valid for an outage.
OFFERED = """
SELECT CAST(description AS text) FROM providers
WHERE registered_at > greatest(
    (SELECT max(registered_at) FROM providers), clock_timestamp() - make_interval(secs => :outage)
) - make_interval(secs => :seconds)
ORDER BY name
"""


def lock_catalogue(connection: Connection) -> None:
    """Serializes registrations until commit, so that each sees the ones before it."""
    connection.defer(text(LOCK_CATALOGUE))


def register(connection: Connection, worker: str, providers: Sequence[Provider], *, is_starting: bool) -> None:
    """Replaces what a worker offers. `is_starting` sets its `started_at`."""
    offered = [{"name": provider.name, "description": rows.to_json(provider)} for provider in providers]
    parameters = {"worker": worker, "offered": rows.as_parameter(offered), "is_starting": is_starting}
    connection.defer(text(REGISTER), parameters)
    names = [provider.name for provider in providers]
    connection.defer(text(FORGET_REGISTRATIONS), {"worker": worker, "names": names})


def live(connection: Connection) -> list[Registration]:
    """Returns the registrations of running generators: those of the last `LIVE_SECONDS`."""
    found = connection.execute(text(LIVE), {"seconds": LIVE_SECONDS}).mappings()
    return [rows.from_json(Registration, dict(row) | {"provider": row["description"]}) for row in found]


def write(connection: Connection, offers: Sequence[Registration]) -> None:
    """Writes the merged catalogue; the default among the offers becomes the only one."""
    entries = [
        {
            "name": offer.provider.name,
            "description": rows.to_json(offer.provider),
            "is_default": offer.provider.is_default,
            "registered_by": offer.worker,
            "registered_at": offer.registered_at,
        }
        for offer in offers
    ]
    connection.execute(text(WRITE_CATALOGUE), {"offered": rows.as_parameter(entries)})
    if default := next((offer.provider.name for offer in offers if offer.provider.is_default), None):
        connection.execute(text(YIELD_DEFAULT), {"default": default})


def catalogue(connection: Connection) -> dict[str, Provider]:
    """Returns every provider by name, including those no longer offered, which unfinished jobs may still name."""
    return _read(connection, "SELECT CAST(description AS text) FROM providers ORDER BY name")


def offered(connection: Connection) -> dict[str, Provider]:
    """Returns the providers for new jobs by name: those that generators offer now."""
    return _read(connection, OFFERED, seconds=LIVE_SECONDS, outage=OUTAGE_SECONDS)


def of_descriptions(descriptions: Iterable[str]) -> dict[str, Provider]:
    """Returns providers by name, of the texts of `providers.description`."""
    return {provider.name: provider for provider in map(from_text, descriptions)}


def _read(connection: Connection, statement: str, **parameters: object) -> dict[str, Provider]:
    return of_descriptions(connection.execute(text(statement), parameters).scalars())


@lru_cache(256)
def from_text(description: str) -> Provider:
    """Returns the provider of a description, which is read for nearly every call and seldom changes."""
    return rows.from_json(Provider, json.loads(description))


class Registered(NamedTuple):
    """Last registration of a provider."""

    #: Name of the worker.
    by: str
    #: Its time.
    at: datetime


def registrations(connection: Connection) -> dict[str, Registered]:
    """Returns the last registration of each provider by name."""
    found = connection.execute(text("SELECT name, registered_by, registered_at FROM providers"))
    return {name: Registered(by, at) for name, by, at in found}
