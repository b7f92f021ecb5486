"""What tenants may use and spend (`tenant_limits`), and what they spent by day and month (`tenant_spend`).

Each change of a call that counts against a budget moves its two sums in the same transaction. Lock them after jobs, and
before what is of all tenants: a provider's turn, a breaker.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, RowMapping, text

from services.job.domain.spending import Allowance, Period, PeriodSpending, TenantSpending
from services.job.store import rows

#: Sums are kept for so many days since their period began: longer than calls are followed.
KEPT_DAYS = 62

_STANDING = """
SELECT clock.now, limits.*,
    coalesce(day.spent_micros, 0) AS day_spent, coalesce(day.reserved_micros, 0) AS day_reserved,
    coalesce(month.spent_micros, 0) AS month_spent, coalesce(month.reserved_micros, 0) AS month_reserved
FROM (SELECT clock_timestamp() AS now OFFSET 0) AS clock
{limits}
LEFT JOIN tenant_spend AS day
    ON day.tenant = limits.tenant AND day.period = 'day' AND day.starts_on = (clock.now AT TIME ZONE 'UTC')::date
LEFT JOIN tenant_spend AS month
    ON month.tenant = limits.tenant AND month.period = 'month'
    AND month.starts_on = date_trunc('month', clock.now AT TIME ZONE 'UTC')::date
"""
STANDING_OF = _STANDING.format(limits="LEFT JOIN tenant_limits AS limits ON limits.tenant = :tenant")
STANDINGS = (
    _STANDING.format(limits="CROSS JOIN tenant_limits AS limits")
    + """
WHERE limits.tenant > :after
    AND (limits.budget_micros_per_day IS NOT NULL OR limits.budget_micros_per_month IS NOT NULL)
ORDER BY limits.tenant LIMIT :limit
"""
)

SET_LIMITS = """
INSERT INTO tenant_limits AS known
SELECT * FROM jsonb_populate_recordset(NULL::tenant_limits, CAST(:told AS jsonb)) ORDER BY tenant
ON CONFLICT (tenant) DO UPDATE SET
    allowed_providers = excluded.allowed_providers,
    budget_micros_per_day = excluded.budget_micros_per_day,
    budget_micros_per_month = excluded.budget_micros_per_month
WHERE (known.allowed_providers, known.budget_micros_per_day, known.budget_micros_per_month)
    IS DISTINCT FROM
    (excluded.allowed_providers, excluded.budget_micros_per_day, excluded.budget_micros_per_month)
"""
LIFT_LIMITS = """
DELETE FROM tenant_limits WHERE tenant IN (
    SELECT tenant FROM tenant_limits WHERE tenant = ANY(:tenants) ORDER BY tenant FOR UPDATE)
"""

# The month first, here as below: whoever has it need not fear that another has a day and waits for the month.
RESERVE = """
INSERT INTO tenant_spend AS sums (tenant, period, starts_on, spent_micros, reserved_micros)
VALUES (:tenant, 'month', :month, 0, :micros), (:tenant, 'day', :day, 0, :micros)
ON CONFLICT (tenant, period, starts_on) DO UPDATE SET reserved_micros = sums.reserved_micros + excluded.reserved_micros
RETURNING period, spent_micros, reserved_micros
"""

_MOVES = """
    SELECT tenant, period, date_trunc(period, day::timestamp)::date AS starts_on,
        sum(spent)::bigint AS spent, sum(reserved)::bigint AS reserved
    FROM jsonb_to_recordset(CAST(:moves AS jsonb)) AS move (tenant text, day date, spent bigint, reserved bigint)
    CROSS JOIN (VALUES ('day'), ('month')) AS span (period)
    GROUP BY 1, 2, 3
"""
# A statement of its own: the one after it sees what was written while the locks were waited for.
LOCK_SUMS = f"""
SELECT FROM tenant_spend JOIN ({_MOVES}) AS move USING (tenant, period, starts_on)
ORDER BY tenant, period DESC, starts_on FOR NO KEY UPDATE OF tenant_spend
"""
# A sum that is no longer kept is not missed.
MOVE_SUMS = f"""
UPDATE tenant_spend AS sums SET
    spent_micros = sums.spent_micros + move.spent, reserved_micros = sums.reserved_micros + move.reserved
FROM ({_MOVES}) AS move
WHERE (sums.tenant, sums.period, sums.starts_on) = (move.tenant, move.period, move.starts_on)
"""  # noqa: S608

FORGET_SUMS = """
DELETE FROM tenant_spend WHERE (tenant, period, starts_on) IN (
    SELECT tenant, period, starts_on FROM tenant_spend
    WHERE starts_on < (clock_timestamp() AT TIME ZONE 'UTC')::date - CAST(:days AS integer)
    ORDER BY starts_on LIMIT :limit
    FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, kw_only=True)
class Move:
    """What the end of a call adds to the sums of its tenant: those of the day that it counts in, and of its month."""

    tenant: str
    day: date
    spent: int
    reserved: int


def standing_of(connection: Connection, tenant: str) -> TenantSpending:
    """How a tenant stands now; without a row it may use and spend whatever it wants."""
    return _standing(tenant, connection.execute(text(STANDING_OF), {"tenant": tenant}).mappings().one())


def standings(connection: Connection, *, after: str, limit: int) -> list[TenantSpending]:
    """Tenants with a budget that come after a name, by name."""
    found = connection.execute(text(STANDINGS), {"after": after, "limit": limit}).mappings()
    return [_standing(row["tenant"], row) for row in found]


def set_limits(connection: Connection, told: Mapping[str, Allowance]) -> None:
    """Replace what the named tenants may use and spend; only a change is written."""
    bounded = [
        {
            "tenant": tenant,
            "allowed_providers": None if one.providers is None else list(one.providers),
            "budget_micros_per_day": one.per_day,
            "budget_micros_per_month": one.per_month,
        }
        for tenant, one in told.items()
        if one != Allowance()
    ]
    free = [tenant for tenant, one in told.items() if one == Allowance()]
    if bounded:
        connection.execute(text(SET_LIMITS), {"told": rows.as_parameter(bounded)})
    if free:
        connection.execute(text(LIFT_LIMITS), {"tenants": free})


def reserve(connection: Connection, tenant: str, day: date, micros: int) -> dict[Period, PeriodSpending]:
    """Add to what is reserved for a day and its month; returns both sums, which are locked until commit."""
    named = {"tenant": tenant, "day": day, "month": Period.MONTH.start(day), "micros": micros}
    return {
        Period(row["period"]): PeriodSpending(spent_micros=row["spent_micros"], reserved_micros=row["reserved_micros"])
        for row in connection.execute(text(RESERVE), named).mappings()
    }


def move(connection: Connection, moves: Sequence[Move]) -> None:
    """Lock sums and move them."""
    told = {"moves": rows.as_parameter([rows.to_json(one) for one in moves])}
    connection.execute(text(LOCK_SUMS), told)
    connection.execute(text(MOVE_SUMS), told)


def forget(connection: Connection, *, limit: int) -> int:
    """Delete sums of periods that are long over; how many."""
    return connection.execute(text(FORGET_SUMS), {"days": KEPT_DAYS, "limit": limit}).rowcount


def _standing(tenant: str, row: RowMapping) -> TenantSpending:
    allowed: Collection[str] | None = row["allowed_providers"]
    return TenantSpending(
        tenant=tenant,
        now=row["now"],
        allowance=Allowance(
            providers=None if allowed is None else tuple(allowed),
            per_day=row["budget_micros_per_day"],
            per_month=row["budget_micros_per_month"],
        ),
        used={
            Period.DAY: PeriodSpending(spent_micros=row["day_spent"], reserved_micros=row["day_reserved"]),
            Period.MONTH: PeriodSpending(spent_micros=row["month_spent"], reserved_micros=row["month_reserved"]),
        },
    )
