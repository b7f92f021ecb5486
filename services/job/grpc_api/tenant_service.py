"""TenantService: allowances and spending of tenants, for the gateway and operators."""

from typing import Any

from calotype.error_reasons import Reason
from calotype.ops.v1 import tenant_service_pb2, tenant_service_pb2_grpc

from common.grpc_server import GrpcService
from common.postgres import Database
from services.job.domain.refusals import Refusal, Violation
from services.job.domain.spending import Allowance, Period, TenantSpending
from services.job.grpc_api.status_codes import translate_errors
from services.job.grpc_api.validation import check_names
from services.job.store import spending
from services.job.store.pools import Pool

#: Tenants of one SetTenantLimits call.
MAX_TENANTS = 1000
#: Tenants of a page without `page_size`, and of the largest page.
PAGE_SIZE, LARGEST_PAGE = 20, 100


class TenantService(tenant_service_pb2_grpc.TenantServiceServicer):
    """Serves `calotype.ops.v1.TenantService`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.ops.v1.TenantService",
            add=tenant_service_pb2_grpc.add_TenantServiceServicer_to_server,
            servicer=self,
        )

    async def SetTenantLimits(
        self, request: tenant_service_pb2.SetTenantLimitsRequest, context: Any
    ) -> tenant_service_pb2.SetTenantLimitsResponse:
        """Replaces the allowances of the named tenants."""
        for limits in request.tenants:
            check_names(limits.tenant, "")

        async def work() -> None:
            allowances = {limits.tenant: _allowance(limits) for limits in request.tenants}
            if len(allowances) != len(request.tenants) or len(allowances) > MAX_TENANTS:
                raise _invalid("tenants", f"At most {MAX_TENANTS:,}, each once.")
            await self._database.run(lambda connection: spending.set_limits(connection, allowances), pool=Pool.WRITES)

        await translate_errors(work)
        return tenant_service_pb2.SetTenantLimitsResponse()

    async def ListSpend(
        self, request: tenant_service_pb2.ListSpendRequest, context: Any
    ) -> tenant_service_pb2.ListSpendResponse:
        """Returns the spending of tenants with a budget, by name; a page token is the last tenant of a page."""
        limit = min(request.page_size or PAGE_SIZE, LARGEST_PAGE)

        async def work() -> list[TenantSpending]:
            if limit < 1:
                raise _invalid("page_size", f"1 to {LARGEST_PAGE}.")
            return await self._database.run(
                lambda connection: spending.list_spending(connection, after=request.page_token, limit=limit + 1),
                pool=Pool.LISTS,
            )

        found = await translate_errors(work)
        return tenant_service_pb2.ListSpendResponse(
            tenants=[_spend(tenant) for tenant in found[:limit]],
            next_page_token=found[limit - 1].tenant if len(found) > limit else "",
        )


def _allowance(limits: tenant_service_pb2.TenantLimits) -> Allowance:
    per_day = limits.budget_micros_per_day if limits.HasField("budget_micros_per_day") else None
    per_month = limits.budget_micros_per_month if limits.HasField("budget_micros_per_month") else None
    if min(per_day or 0, per_month or 0) < 0:
        raise _invalid("tenants", f"A budget of {limits.tenant} is below zero.")
    allowed = tuple(limits.allowed_providers.entries) if limits.HasField("allowed_providers") else None
    return Allowance(providers=allowed, per_day=per_day, per_month=per_month)


def _spend(tenant: TenantSpending) -> tenant_service_pb2.TenantSpend:
    allowed = tenant.allowance.providers
    return tenant_service_pb2.TenantSpend(
        limits=tenant_service_pb2.TenantLimits(
            tenant=tenant.tenant,
            allowed_providers=None if allowed is None else tenant_service_pb2.AllowedProviders(entries=allowed),
            budget_micros_per_day=tenant.allowance.per_day,
            budget_micros_per_month=tenant.allowance.per_month,
        ),
        day=_period(tenant, Period.DAY),
        month=_period(tenant, Period.MONTH),
    )


def _period(tenant: TenantSpending, period: Period) -> tenant_service_pb2.Spend:
    return tenant_service_pb2.Spend(
        starts_on=period.start(tenant.today).isoformat(),
        spent_micros=tenant.used[period].spent_micros,
        reserved_micros=tenant.used[period].reserved_micros,
    )


def _invalid(field: str, message: str) -> Refusal:
    return Refusal(Reason.INVALID_INPUT, f"{field}: {message}", violations=(Violation(field=field, message=message),))
