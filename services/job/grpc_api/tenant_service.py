"""TenantService: translates."""

from typing import Any

from calotype.ops.v1 import tenant_service_pb2, tenant_service_pb2_grpc

from common.grpc_server import Served
from common.postgres import Database
from services.job.domain.refusals import Refusal, Violation
from services.job.domain.spending import Allowance, Period, TenantSpending
from services.job.grpc_api.status_codes import answer
from services.job.grpc_api.validation import check_names
from services.job.store import spending
from services.job.store.pools import Pool

MOST_AT_ONCE = 1000
PAGE_SIZE, LARGEST_PAGE = 20, 100


class TenantService(tenant_service_pb2_grpc.TenantServiceServicer):
    """Serves `calotype.ops.v1.TenantService`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def served(self) -> Served:
        """This service, as a server offers it."""
        return Served(
            name="calotype.ops.v1.TenantService",
            add=tenant_service_pb2_grpc.add_TenantServiceServicer_to_server,
            servicer=self,
        )

    async def SetTenantLimits(
        self, request: tenant_service_pb2.SetTenantLimitsRequest, context: Any
    ) -> tenant_service_pb2.SetTenantLimitsResponse:
        """Replace what the named tenants may use and spend."""
        for one in request.tenants:
            check_names(one.tenant, "")

        async def work() -> None:
            told = {one.tenant: _allowance(one) for one in request.tenants}
            if len(told) != len(request.tenants) or len(told) > MOST_AT_ONCE:
                raise _wrong("tenants", f"At most {MOST_AT_ONCE:,}, each once.")
            await self._database.run(lambda connection: spending.set_limits(connection, told), pool=Pool.WRITES)

        await answer(work)
        return tenant_service_pb2.SetTenantLimitsResponse()

    async def ListSpend(
        self, request: tenant_service_pb2.ListSpendRequest, context: Any
    ) -> tenant_service_pb2.ListSpendResponse:
        """Tell what tenants with a budget have spent of it; a page begins behind the tenant that its token names."""
        limit = min(request.page_size or PAGE_SIZE, LARGEST_PAGE)

        async def work() -> list[TenantSpending]:
            if limit < 1:
                raise _wrong("page_size", f"1 to {LARGEST_PAGE}.")
            return await self._database.run(
                lambda connection: spending.standings(connection, after=request.page_token, limit=limit),
                pool=Pool.LISTS,
            )

        found = await answer(work)
        return tenant_service_pb2.ListSpendResponse(
            tenants=[_spend(one) for one in found], next_page_token=found[-1].tenant if len(found) == limit else ""
        )


def _allowance(told: tenant_service_pb2.TenantLimits) -> Allowance:
    per_day = told.budget_micros_per_day if told.HasField("budget_micros_per_day") else None
    per_month = told.budget_micros_per_month if told.HasField("budget_micros_per_month") else None
    if min(per_day or 0, per_month or 0) < 0:
        raise _wrong("tenants", f"A budget of {told.tenant} is below zero.")
    allowed = tuple(told.allowed_providers.entries) if told.HasField("allowed_providers") else None
    return Allowance(providers=allowed, per_day=per_day, per_month=per_month)


def _spend(one: TenantSpending) -> tenant_service_pb2.TenantSpend:
    allowed = one.allowance.providers
    return tenant_service_pb2.TenantSpend(
        limits=tenant_service_pb2.TenantLimits(
            tenant=one.tenant,
            allowed_providers=None if allowed is None else tenant_service_pb2.AllowedProviders(entries=allowed),
            budget_micros_per_day=one.allowance.per_day,
            budget_micros_per_month=one.allowance.per_month,
        ),
        day=_period(one, Period.DAY),
        month=_period(one, Period.MONTH),
    )


def _period(one: TenantSpending, period: Period) -> tenant_service_pb2.Spend:
    return tenant_service_pb2.Spend(
        starts_on=period.start(one.today).isoformat(),
        spent_micros=one.used[period].spent_micros,
        reserved_micros=one.used[period].reserved_micros,
    )


def _wrong(field: str, message: str) -> Refusal:
    return Refusal("INVALID_INPUT", f"{field}: {message}", violations=(Violation(field=field, message=message),))
