"""Counts the jobs that ended in the last hour, for operators, by a bounded number of rows of one index."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from common.sql import Connection, text
from services.job.store import ages

#: Jobs that are counted: those that ended last.
MAX_COUNTED = 2_000
#: Reasons of failures that are listed.
MAX_REASONS = 10

# The time is a subquery, so that it bounds the range of the index `final_jobs_by_age`.
COUNT_ENDED = """
WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now),
ended AS MATERIALIZED (
    SELECT state, failure_reason, completed_at FROM jobs
    WHERE completed_at > (SELECT now FROM clock) - interval '1 hour' AND deleted_at IS NULL
    ORDER BY completed_at DESC LIMIT :counted
),
bounds AS (
    SELECT CASE WHEN count(*) < :counted THEN clock.now - interval '1 hour' ELSE min(completed_at) END AS since
    FROM clock LEFT JOIN ended ON true GROUP BY clock.now
)
SELECT clock.now, bounds.since, minute.* FROM clock CROSS JOIN bounds LEFT JOIN (
    SELECT date_trunc('minute', completed_at) AS starts_at, state, failure_reason, count(*) AS jobs
    FROM ended GROUP BY 1, 2, 3
) AS minute ON true
ORDER BY minute.starts_at
"""


@dataclass(kw_only=True)
class MinuteCounts:
    """Numbers of jobs that ended within one minute."""

    #: Start of the minute.
    starts_at: datetime
    #: Jobs that were completed.
    completed: int = 0
    #: Jobs that failed.
    failed: int = 0
    #: Jobs that were canceled.
    canceled: int = 0


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Jobs that ended lately, and the age of each stage."""

    #: Time of the database.
    now: datetime
    #: Time from which on all jobs are counted.
    counted_since: datetime
    #: Minutes in which jobs ended, oldest first.
    minutes: Sequence[MinuteCounts] = ()
    #: Number of failed jobs by reason, the most frequent first.
    failures: Sequence[tuple[str, int]] = ()
    #: Seconds for which the oldest job of each stage has been in it; 0 for an empty stage.
    oldest_in_stage: dict[str, float] = field(default_factory=dict)


def read(connection: Connection) -> Throughput:
    """Counts the jobs that ended in the last hour, the last `MAX_COUNTED` of them."""
    found = connection.execute(text(COUNT_ENDED), {"counted": MAX_COUNTED}).mappings().all()
    minutes: dict[datetime, MinuteCounts] = {}
    failures: Counter[str] = Counter()
    for row in found:
        if row["starts_at"] is None:
            continue
        counts = minutes.setdefault(row["starts_at"], MinuteCounts(starts_at=row["starts_at"]))
        setattr(counts, row["state"], getattr(counts, row["state"]) + row["jobs"])
        if row["failure_reason"] is not None:
            failures[row["failure_reason"]] += row["jobs"]
    return Throughput(
        now=found[0]["now"],
        counted_since=found[0]["since"],
        minutes=[*minutes.values()],
        failures=sorted(failures.items(), key=lambda item: (-item[1], item[0]))[:MAX_REASONS],
        oldest_in_stage=ages.oldest_in_stage(connection),
    )
