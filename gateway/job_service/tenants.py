"""What the keys file says of providers and budgets, made known to job-service, which holds it for every job."""

import asyncio
from collections.abc import Callable, Mapping

from calotype.ops.v1 import tenant_service_pb2

from common.errors import DependencyUnavailable
from gateway.auth.keyring import Keyring, Principal, TenantQuota
from gateway.job_service.operator_client import OperatorClient
from gateway.problems.problem import Problem

#: Tenants of one request.
PAGE = 1000


class TenantRegistrar:
    """Tells job-service of the keys that are in use, whenever they change, and before a job of a tenant so bounded.

    A job does not bring these limits, as they hold for jobs that wait already, and for those of other gateways.
    """

    def __init__(self, operator: OperatorClient, keys: Callable[[], Keyring | None]) -> None:
        self._operator = operator
        self._keys = keys
        self._told: Keyring | None = None
        self._telling: asyncio.Task[None] | None = None

    async def run_once(self) -> Mapping[str, int]:
        """Tell what has not been told. Raises `DependencyUnavailable`."""
        try:
            await self._until_told()
        except Problem as problem:
            raise DependencyUnavailable(f"job-service does not know of all budgets and lists: {problem}") from problem
        return {}

    async def ensure(self, principal: Principal) -> None:
        """Have job-service know what the caller may use and spend, if that is bounded. Raises `Problem`."""
        if principal.limits.are_told_before:
            await self._until_told()

    async def _until_told(self) -> None:
        """Whoever waits for a try hears of its failure, so that an outage is told to a crowd at once."""
        while (keyring := self._keys()) is not None and keyring is not self._told:
            if self._telling is None or self._telling.done():
                self._telling = asyncio.create_task(self._tell(keyring))
                self._telling.add_done_callback(_look_at_its_end)
            # It goes on without whoever asked for it and has gone.
            await asyncio.shield(self._telling)

    async def _tell(self, keyring: Keyring) -> None:
        tenants = [_limits(name, one) for name, one in keyring.tenants().items()]
        for start in range(0, len(tenants), PAGE):
            await self._operator.set_tenant_limits(tenants[start : start + PAGE])
        self._told = keyring


def _look_at_its_end(telling: asyncio.Task[None]) -> None:
    """A failure of which nobody waits to hear is no defect."""
    if not telling.cancelled():
        telling.exception()


def _limits(tenant: str, limits: TenantQuota) -> tenant_service_pb2.TenantLimits:
    allowed = limits.allowed_providers
    return tenant_service_pb2.TenantLimits(
        tenant=tenant,
        allowed_providers=None if allowed is None else tenant_service_pb2.AllowedProviders(entries=allowed),
        budget_micros_per_day=limits.budget_micros_per_day,
        budget_micros_per_month=limits.budget_micros_per_month,
    )
