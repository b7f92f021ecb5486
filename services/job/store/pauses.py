"""The table `pauses`: what operators have paused, and when it was resumed."""

from collections.abc import Sequence

from common.sql import Connection, text
from services.job.domain.pauses import Pause, PauseKind, Pauses

# A repeated pause changes the note; its begin stays.
PAUSE = """
INSERT INTO pauses (kind, name, note, paused_by, paused_at)
VALUES (:kind, :name, :note, :paused_by, clock_timestamp())
ON CONFLICT (kind, name) DO UPDATE SET note = excluded.note, paused_by = excluded.paused_by,
    paused_at = CASE WHEN pauses.resumed_at IS NULL THEN pauses.paused_at ELSE excluded.paused_at END,
    resumed_at = NULL
RETURNING kind, name, note, paused_by, paused_at, resumed_at
"""

RESUME = """
UPDATE pauses SET resumed_at = clock_timestamp() WHERE kind = :kind AND name = :name AND resumed_at IS NULL
"""

FORGET = """
DELETE FROM pauses WHERE resumed_at < clock_timestamp() - make_interval(secs => :seconds)
"""

ALL = """
SELECT kind, name, note, paused_by, paused_at, resumed_at FROM pauses ORDER BY paused_at, kind, name
"""

OF_JOB = """
SELECT kind, name, note, paused_by, paused_at, resumed_at FROM pauses
WHERE (kind, name) IN (('queue', ''), ('tenant', :tenant)) OR kind = 'provider' AND name = ANY(:providers)
"""

#: End of the last pause of a row of `jobs`, infinity during one, null without any: `Pauses.held_until` in SQL.
HELD_UNTIL = """(SELECT max(coalesce(pauses.resumed_at, 'infinity')) FROM pauses
        WHERE pauses.kind = 'queue' OR pauses.kind = 'provider' AND pauses.name = jobs.provider
            OR pauses.kind = 'tenant' AND pauses.name = jobs.tenant)"""


def pause(connection: Connection, kind: PauseKind, name: str, *, note: str, by: str) -> Pause:
    """Begins a pause, or changes the note of one in effect; returns it."""
    values = {"kind": kind, "name": name, "note": note, "paused_by": by}
    return _from_row(connection.execute(text(PAUSE), values).mappings().one())


def resume(connection: Connection, kind: PauseKind, name: str) -> bool:
    """Ends a pause; returns whether it was in effect."""
    return bool(connection.execute(text(RESUME), {"kind": kind, "name": name}).rowcount)


def forget(connection: Connection, *, seconds: float) -> int:
    """Deletes pauses that ended more than `seconds` ago; returns their number."""
    return connection.execute(text(FORGET), {"seconds": seconds}).rowcount


def read(connection: Connection) -> Pauses:
    """Returns all pauses, in the order in which they began."""
    return Pauses(known=[_from_row(row) for row in connection.execute(text(ALL)).mappings()])


def read_of(connection: Connection, tenant: str, providers: Sequence[str]) -> Pauses:
    """Returns the pauses of a tenant, of some providers and of the queue."""
    found = connection.execute(text(OF_JOB), {"tenant": tenant, "providers": list(providers)}).mappings()
    return Pauses(known=[_from_row(row) for row in found])


def _from_row(row: object) -> Pause:
    values = dict(row)  # type: ignore[call-overload]
    return Pause(**values | {"kind": PauseKind(values["kind"])})
