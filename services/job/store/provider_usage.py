"""How much of a provider is in use, over all generators: what its limits are held against."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

#: Length in seconds of the window that `requests_per_minute` is about.
WINDOW = 60.0

# A call holds its place until its end is heard, or for as long as it may take, whatever the ledger calls it meanwhile.
_HOLDS_A_PLACE = """(
    call.phase IN ('intended', 'accepted') AND clock_timestamp()
        < coalesce(call.occupied_until, call.created_at + make_interval(secs => call.timeout_seconds))
    OR call.phase NOT IN ('intended', 'accepted') AND call.occupied_until > clock_timestamp())"""

# A job at a generator stands for its own open call. One that waits to send its call again needs a claim for that, and
# would wait for itself; one that waits to follow an operation is claimed whatever is in use.
IN_USE = f"""
SELECT provider, count(*) FROM (
    SELECT provider FROM jobs WHERE state IN ('processing', 'generating') AND provider = ANY(:providers)
    UNION ALL
    SELECT call.provider FROM provider_calls AS call LEFT JOIN jobs ON jobs.id = call.job_id
    WHERE call.provider = ANY(:providers) AND {_HOLDS_A_PLACE}
        AND (jobs.id IS NULL OR call.phase NOT IN ('intended', 'accepted')
            OR jobs.state NOT IN ('queued', 'processing', 'generating')
            OR jobs.state = 'queued' AND call.phase = 'accepted'
            OR jobs.state <> 'queued' AND jobs.provider <> call.provider)
) AS used GROUP BY provider
"""  # noqa: S608

# A request is a call that was written down, or one that was sent again. Jobs that were claimed and have not called yet
# are about to.
BEGUN = """
SELECT provider, count(*) FROM (
    SELECT provider FROM provider_calls
    WHERE provider = ANY(:providers) AND created_at > clock_timestamp() - make_interval(secs => :window)
    UNION ALL
    SELECT provider FROM resends
    WHERE provider = ANY(:providers) AND sent_at > clock_timestamp() - make_interval(secs => :window)
    UNION ALL
    SELECT provider FROM jobs WHERE state = 'processing' AND provider = ANY(:providers)
) AS begun GROUP BY provider
"""

ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(hashtextextended('provider ' || :provider, 0))
"""

# A claim makes one call at a time: those that it began have ended, though the ledger may not know it yet.
PLACES_OF_OTHERS = f"""
SELECT count(*) FROM provider_calls AS call
WHERE call.provider = :provider AND {_HOLDS_A_PLACE}
    AND NOT (call.job_id = :job_id AND call.claim_number = :claim_number) AND call.id <> :resent
"""  # noqa: S608

# The request after which there will be room: the limit's own number counted back from now.
ROOM_AT = """
SELECT sent_at + make_interval(secs => :window) FROM (
    SELECT created_at AS sent_at FROM provider_calls
    WHERE provider = :provider AND created_at > clock_timestamp() - make_interval(secs => :window)
    UNION ALL
    SELECT sent_at FROM resends
    WHERE provider = :provider AND sent_at > clock_timestamp() - make_interval(secs => :window)
) AS sent ORDER BY sent_at DESC OFFSET :limit - 1 LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Per provider: places in use, and requests of the last minute."""

    in_use: dict[str, int]
    begun: dict[str, int]


def of_providers(connection: Connection, providers: Collection[str]) -> Load:
    """How much of the named providers is in use."""
    named = {"providers": list(providers), "window": WINDOW}
    return Load(
        in_use={row[0]: row[1] for row in connection.execute(text(IN_USE), named)},
        begun={row[0]: row[1] for row in connection.execute(text(BEGUN), named)},
    )


def lock_provider_calls(connection: Connection, provider: str) -> None:
    """Let calls of a limited provider begin one after the other, each counted by the next; until commit."""
    connection.execute(text(ONE_AT_A_TIME), {"provider": provider})


def slots_used_by_others(connection: Connection, provider: str, *, job_id: str, claim_number: int, resent: str) -> int:
    """Calls that hold a place, but for those of this claim and the one that it sends again ("" for none)."""
    named = {"provider": provider, "job_id": job_id, "claim_number": claim_number, "resent": resent}
    return int(connection.execute(text(PLACES_OF_OTHERS), named).scalar_one())


def next_free_at(connection: Connection, provider: str, *, limit: int) -> datetime | None:
    """When another call may begin under so many a minute; None for now."""
    found: datetime | None = connection.execute(
        text(ROOM_AT), {"provider": provider, "limit": limit, "window": WINDOW}
    ).scalar()
    return found
