"""How much of a provider is in use, over all generators: what its limits are held against."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

#: Length in seconds of the window that `requests_per_minute` is about.
WINDOW = 60.0

# A call holds its place until it ends, or for as long as it may take. Those of a waiting job are left out: it needs a
# claim to be followed up, and would wait for itself.
IN_USE = """
SELECT provider, count(*) FROM (
    SELECT provider FROM jobs WHERE state IN ('processing', 'generating') AND provider = ANY(:providers)
    UNION ALL
    SELECT call.provider FROM provider_calls AS call LEFT JOIN jobs ON jobs.id = call.job_id
    WHERE call.phase IN ('intended', 'accepted') AND call.provider = ANY(:providers)
        AND call.created_at > clock_timestamp() - make_interval(secs => call.timeout_seconds)
        AND (jobs.id IS NULL OR jobs.state NOT IN ('queued', 'processing', 'generating')
            OR jobs.state <> 'queued' AND jobs.provider <> call.provider)
) AS used GROUP BY provider
"""

# Jobs that were claimed and have not called yet are about to.
BEGUN = """
SELECT provider, count(*) FROM (
    SELECT provider FROM provider_calls
    WHERE provider = ANY(:providers) AND created_at > clock_timestamp() - make_interval(secs => :window)
    UNION ALL
    SELECT provider FROM jobs WHERE state = 'processing' AND provider = ANY(:providers)
) AS begun GROUP BY provider
"""

ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(hashtextextended('provider ' || :provider, 0))
"""

OPEN_CALLS_OF_OTHERS = """
SELECT count(*) FROM provider_calls
WHERE provider = :provider AND phase IN ('intended', 'accepted') AND job_id <> :job_id
    AND created_at > clock_timestamp() - make_interval(secs => timeout_seconds)
"""

# The call after which there will be room: the limit's own number counted back from now.
ROOM_AT = """
SELECT created_at + make_interval(secs => :window) FROM provider_calls
WHERE provider = :provider AND created_at > clock_timestamp() - make_interval(secs => :window)
ORDER BY created_at DESC OFFSET :most - 1 LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Per provider: places in use, and calls of the last minute."""

    in_use: dict[str, int]
    begun: dict[str, int]


def of_providers(connection: Connection, providers: Collection[str]) -> Load:
    """How much of the named providers is in use."""
    named = {"providers": list(providers), "window": WINDOW}
    return Load(
        in_use={row[0]: row[1] for row in connection.execute(text(IN_USE), named)},
        begun={row[0]: row[1] for row in connection.execute(text(BEGUN), named)},
    )


def one_at_a_time(connection: Connection, provider: str) -> None:
    """Let calls of a limited provider begin one after the other, each counted by the next; until commit."""
    connection.execute(text(ONE_AT_A_TIME), {"provider": provider})


def open_calls_of_others(connection: Connection, provider: str, *, job_id: str) -> int:
    """Calls that hold a place, but for the job's own."""
    return int(connection.execute(text(OPEN_CALLS_OF_OTHERS), {"provider": provider, "job_id": job_id}).scalar_one())


def room_at(connection: Connection, provider: str, *, most: int) -> datetime | None:
    """When another call may begin under so many a minute; None for now."""
    found: datetime | None = connection.execute(
        text(ROOM_AT), {"provider": provider, "most": most, "window": WINDOW}
    ).scalar()
    return found
