"""Sends the keys file's provider lists and budgets to job-service, which enforces them for every job."""

import asyncio
from collections.abc import Callable, Mapping

from calotype.ops.v1 import tenant_service_pb2

from common.errors import DependencyUnavailable
from gateway.auth.keyring import Keyring, Principal, TenantQuota
from gateway.job_service.operator_client import OperatorClient
from gateway.problems.problem import Problem

#: Tenants in one call.
PAGE = 1000


class TenantRegistrar:
    """Registers the tenants' limits with job-service whenever the keys change, and before a limited tenant's job.

    A job does not carry these limits, as they also apply to jobs in the queue and to those of other gateways.
    """

    def __init__(self, operator: OperatorClient, keys: Callable[[], Keyring | None]) -> None:
        self._operator = operator
        self._keys = keys
        self._registered: Keyring | None = None
        self._registering: asyncio.Task[None] | None = None

    async def run_once(self) -> Mapping[str, int]:
        """Registers the current keys if that has not been done. Raises `DependencyUnavailable`."""
        try:
            await self._until_registered()
        except Problem as problem:
            raise DependencyUnavailable(
                f"The keys file's budgets and provider lists could not be sent to job-service: {problem}"
            ) from problem
        return {}

    async def ensure(self, principal: Principal) -> None:
        """Waits until job-service has the limits of the principal's tenant, if it has any. Raises `Problem`."""
        if principal.limits.needs_registration:
            await self._until_registered()

    async def _until_registered(self) -> None:
        """Joins the attempt in progress, so that its failure reaches all waiting requests at once."""
        while (keyring := self._keys()) is not None and keyring is not self._registered:
            if self._registering is None or self._registering.done():
                self._registering = asyncio.create_task(self._register(keyring))
                self._registering.add_done_callback(_retrieve_exception)
            # The attempt continues when the request that began it is canceled.
            await asyncio.shield(self._registering)

    async def _register(self, keyring: Keyring) -> None:
        tenants = [_limits(name, limits) for name, limits in keyring.tenants().items()]
        for start in range(0, len(tenants), PAGE):
            await self._operator.set_tenant_limits(tenants[start : start + PAGE])
        self._registered = keyring


def _retrieve_exception(task: asyncio.Task[None]) -> None:
    """Keeps asyncio from logging a failure as unhandled when no request waits for it any more."""
    if not task.cancelled():
        task.exception()


def _limits(tenant: str, limits: TenantQuota) -> tenant_service_pb2.TenantLimits:
    allowed = limits.allowed_providers
    return tenant_service_pb2.TenantLimits(
        tenant=tenant,
        allowed_providers=None if allowed is None else tenant_service_pb2.AllowedProviders(entries=allowed),
        budget_micros_per_day=limits.budget_micros_per_day,
        budget_micros_per_month=limits.budget_micros_per_month,
    )
