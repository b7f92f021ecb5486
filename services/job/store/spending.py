"""Allowances of tenants (`tenant_limits`), and their spending by day and month (`tenant_spend`).

Each change of a call that counts against a budget changes both sums in the same transaction. Lock the sums after jobs,
and before locks of all tenants: a provider's calls, a breaker.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from common.sql import Connection, Row, text
from services.job.domain.providers import Provider
from services.job.domain.spending import Allowance, Period, PeriodSpending, TenantSpending
from services.job.store import providers, rows

#: Days since the start of its period for which a sum is kept: longer than calls are followed.
KEPT_DAYS = 62

_SPENDING = """
SELECT clock.now, limits.*{more},
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
SPENDING_OF_TENANT = _SPENDING.format(more="", limits="LEFT JOIN tenant_limits AS limits ON limits.tenant = :tenant")
# With all else that decides about new calls of a provider, besides their jobs.
PURCHASE_TERMS = _SPENDING.format(
    more=""", buyer.tenant AS buyer,
    (SELECT CAST(description AS text) FROM providers WHERE name = :provider) AS provider,
    (SELECT value FROM secrets WHERE name = :key_name) AS token_key""",
    limits="""CROSS JOIN unnest(CAST(:tenants AS text[])) AS buyer (tenant)
LEFT JOIN tenant_limits AS limits ON limits.tenant = buyer.tenant""",
)
LIST_SPENDING = (
    _SPENDING.format(more="", limits="CROSS JOIN tenant_limits AS limits")
    + """
WHERE limits.tenant > :after
    AND (limits.budget_micros_per_day IS NOT NULL OR limits.budget_micros_per_month IS NOT NULL)
ORDER BY limits.tenant LIMIT :limit
"""
)

SET_LIMITS = """
INSERT INTO tenant_limits AS known
SELECT * FROM jsonb_populate_recordset(NULL::tenant_limits, CAST(:limits AS jsonb)) ORDER BY tenant
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

# The month first, here and below: all transactions lock in this order, so that none waits for another in a circle.
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
# In its own statement: the next one sees the sums that were written while this one waited for the locks.
LOCK_SUMS = f"""
SELECT FROM tenant_spend JOIN ({_MOVES}) AS move USING (tenant, period, starts_on)
ORDER BY tenant, period DESC, starts_on FOR NO KEY UPDATE OF tenant_spend
"""
# Those that another transaction holds, or that do not exist yet, are left out.
LOCK_FREE_SUMS = """
SELECT tenant, period, spent_micros, reserved_micros FROM tenant_spend
WHERE tenant = ANY(:tenants)
    AND (period, starts_on) IN (('month', CAST(:month AS date)), ('day', CAST(:day AS date)))
FOR NO KEY UPDATE SKIP LOCKED
"""
# A sum that is no longer kept is ignored.
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
class PurchaseTerms:
    """What decides about new calls of one provider, besides their jobs."""

    #: The database's time.
    now: datetime
    #: The provider; None if no generator has registered it.
    provider: Provider | None
    #: Key of call tokens.
    token_key: bytes = field(repr=False)
    #: Allowance and spending of each tenant, by name.
    tenants: Mapping[str, TenantSpending]


@dataclass(frozen=True, kw_only=True)
class Move:
    """Change of a tenant's sums by the end of a call, for its day and its month."""

    #: Tenant whose budget the call counts against.
    tenant: str
    #: Day (UTC) on which the call counts.
    day: date
    #: Amount to add to the spent sums, in millionths of a US dollar.
    spent: int
    #: Amount to add to the reserved sums; negative to release a reservation.
    reserved: int


def spending_of(connection: Connection, tenant: str) -> TenantSpending:
    """Returns a tenant's allowance and current spending; without a row it has no limits."""
    return _from_row(tenant, connection.execute(text(SPENDING_OF_TENANT), {"tenant": tenant}).mappings().one())


def purchase_terms(connection: Connection, provider: str, tenants: Collection[str], *, key_name: str) -> PurchaseTerms:
    """Returns what decides about new calls of a provider for these tenants, at least one.

    `key_name` is the name of the key of call tokens in the table `secrets`.
    """
    parameters = {"provider": provider, "tenants": sorted(tenants), "key_name": key_name}
    found = connection.execute(text(PURCHASE_TERMS), parameters).mappings().all()
    [row, *_] = found
    return PurchaseTerms(
        now=row["now"],
        provider=None if row["provider"] is None else providers.from_text(row["provider"]),
        token_key=bytes(row["token_key"]),
        tenants={each["buyer"]: _from_row(each["buyer"], each) for each in found},
    )


def list_spending(connection: Connection, *, after: str, limit: int) -> list[TenantSpending]:
    """Returns tenants with a budget whose name sorts after `after`, by name."""
    found = connection.execute(text(LIST_SPENDING), {"after": after, "limit": limit}).mappings()
    return [_from_row(row["tenant"], row) for row in found]


def set_limits(connection: Connection, allowances: Mapping[str, Allowance]) -> None:
    """Replaces the allowances of the named tenants; writes only changes."""
    limited = [
        {
            "tenant": tenant,
            "allowed_providers": None if allowance.providers is None else list(allowance.providers),
            "budget_micros_per_day": allowance.per_day,
            "budget_micros_per_month": allowance.per_month,
        }
        for tenant, allowance in allowances.items()
        if allowance != Allowance()
    ]
    unlimited = [tenant for tenant, allowance in allowances.items() if allowance == Allowance()]
    if limited:
        connection.defer(text(SET_LIMITS), {"limits": rows.as_parameter(limited)})
    if unlimited:
        connection.defer(text(LIFT_LIMITS), {"tenants": unlimited})


def reserve(connection: Connection, tenant: str, day: date, micros: int) -> dict[Period, PeriodSpending]:
    """Adds to the reserved sums of a day and its month; returns both sums, which stay locked until commit."""
    parameters = {"tenant": tenant, "day": day, "month": Period.MONTH.start(day), "micros": micros}
    return {
        Period(row["period"]): PeriodSpending(spent_micros=row["spent_micros"], reserved_micros=row["reserved_micros"])
        for row in connection.execute(text(RESERVE), parameters).mappings()
    }


def lock_free(connection: Connection, tenants: Collection[str], day: date) -> dict[str, dict[Period, PeriodSpending]]:
    """Locks sums of a day and its month without waiting; returns those of the tenants that have both, by tenant."""
    parameters = {"tenants": sorted(tenants), "day": day, "month": Period.MONTH.start(day)}
    sums: dict[str, dict[Period, PeriodSpending]] = {}
    for row in connection.execute(text(LOCK_FREE_SUMS), parameters).mappings() if tenants else ():
        used = PeriodSpending(spent_micros=row["spent_micros"], reserved_micros=row["reserved_micros"])
        sums.setdefault(row["tenant"], {})[Period(row["period"])] = used
    return {tenant: used for tenant, used in sums.items() if len(used) == len(Period)}


def move(connection: Connection, moves: Sequence[Move]) -> None:
    """Locks sums and changes them."""
    if moves:
        connection.defer(text(LOCK_SUMS), _parameters(moves))
        move_locked(connection, moves)


def move_locked(connection: Connection, moves: Sequence[Move]) -> None:
    """Changes sums that the transaction has locked."""
    if moves:
        connection.defer(text(MOVE_SUMS), _parameters(moves))


def _parameters(moves: Sequence[Move]) -> dict[str, str]:
    return {"moves": rows.as_parameter([rows.to_json(change) for change in moves])}


def forget(connection: Connection, *, limit: int) -> int:
    """Deletes up to `limit` sums of old periods; returns the number."""
    return connection.execute(text(FORGET_SUMS), {"days": KEPT_DAYS, "limit": limit}).rowcount


def _from_row(tenant: str, row: Row) -> TenantSpending:
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
