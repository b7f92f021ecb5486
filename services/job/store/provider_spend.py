"""What calls of providers cost today, by a bounded number of rows of one index for each provider."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from common.sql import Connection, text

#: Calls of a provider that are counted: those that began last.
MAX_COUNTED = 1_000

# The day is a subquery of its own, so that it bounds the range of the index `provider_calls_by_time`.
SPENT_TODAY = """
SELECT names.provider, last.spent_micros, last.calls_without_cost,
    CASE WHEN last.calls < :counted THEN day.starts_at ELSE last.oldest END AS since
FROM unnest(CAST(:providers AS text[])) AS names (provider)
CROSS JOIN (
    SELECT date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS starts_at OFFSET 0
) AS day
CROSS JOIN LATERAL (
    SELECT count(*) AS calls, coalesce(sum(cost_micros), 0)::bigint AS spent_micros,
        count(*) FILTER (WHERE cost_micros IS NULL AND phase IN ('intended', 'accepted', 'succeeded', 'unknown'))
            AS calls_without_cost,
        min(created_at) AS oldest
    FROM (
        SELECT cost_micros, phase, created_at FROM provider_calls
        WHERE provider = names.provider AND created_at >= day.starts_at
        ORDER BY created_at DESC LIMIT :counted
    ) AS call
) AS last
"""


@dataclass(frozen=True, kw_only=True)
class ProviderSpend:
    """Cost of a provider's calls since a time of today."""

    #: Sum of the known costs, in millionths of a US dollar.
    spent_micros: int
    #: Calls that may have been charged, and whose cost is not known: in progress, of unknown outcome, without a price.
    calls_without_cost: int
    #: Time from which on all calls are counted: the begin of the day in UTC; later for more than `MAX_COUNTED` calls.
    since: datetime


def today(connection: Connection, providers: Collection[str]) -> dict[str, ProviderSpend]:
    """Returns the spend of each of the providers, by name, for the calls that began today (UTC)."""
    parameters = {"providers": sorted(providers), "counted": MAX_COUNTED}
    return {
        row["provider"]: ProviderSpend(
            spent_micros=row["spent_micros"], calls_without_cost=row["calls_without_cost"], since=row["since"]
        )
        for row in connection.execute(text(SPENT_TODAY), parameters).mappings()
    }
