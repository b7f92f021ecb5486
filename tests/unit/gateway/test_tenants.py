"""What the keys file says of providers and budgets is told once for each change, and before whoever it bounds."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from calotype.error_reasons import Reason
from calotype.ops.v1 import tenant_service_pb2

from common.errors import DependencyUnavailable
from gateway.auth.keyring import Keyring, Principal, TenantQuota
from gateway.job_service.tenants import PAGE, TenantRegistrar
from gateway.problems.problem import Problem

BOUNDED = Principal(tenant="acme", limits=TenantQuota(budget_micros_per_day=5, allowed_providers=()))
FREE = Principal(tenant="free", limits=TenantQuota(max_queued=1))


class Operator:
    """Notes what it is told; while it is away, it says no after a while."""

    def __init__(self) -> None:
        self.told: list[Sequence[tenant_service_pb2.TenantLimits]] = []
        self.asked = 0
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        self.is_away = False

    async def set_tenant_limits(self, tenants: Sequence[tenant_service_pb2.TenantLimits]) -> None:
        """Take them."""
        self.asked += 1
        self.is_asked.set()
        await self.may_answer.wait()
        if self.is_away:
            raise Problem(reason=Reason.SERVICE_UNAVAILABLE, detail="Away.")
        self.told.append(tenants)


class Keys:
    """The keys that are in use."""

    def __init__(self, *callers: Principal) -> None:
        self.now: Keyring | None = Keyring(callers)

    def __call__(self) -> Keyring | None:
        return self.now


def registrar(operator: Any, keys: Keys) -> TenantRegistrar:
    return TenantRegistrar(operator, keys)


async def test_every_tenant_is_told_of_once_for_each_change() -> None:
    operator, keys = Operator(), Keys(BOUNDED, FREE)
    tenants = registrar(operator, keys)
    for _ in range(2):
        await tenants.run_once()
    keys.now = Keyring([FREE])
    await tenants.run_once()

    [acme, free], [again] = operator.told
    assert (acme.tenant, acme.budget_micros_per_day, acme.HasField("budget_micros_per_month")) == ("acme", 5, False)
    # Nothing is allowed; without a list everything would be.
    assert acme.HasField("allowed_providers")
    assert free == again == tenant_service_pb2.TenantLimits(tenant="free")


async def test_many_tenants_are_told_of_in_pages() -> None:
    operator = Operator()
    await registrar(operator, Keys(*(Principal(tenant=f"t{number}") for number in range(PAGE + 1)))).run_once()

    assert [len(page) for page in operator.told] == [PAGE, 1]


async def test_whoever_is_not_bounded_waits_for_nothing() -> None:
    operator = Operator()
    await registrar(operator, Keys(BOUNDED, FREE)).ensure(FREE)

    assert operator.asked == 0


async def test_a_crowd_that_is_bounded_waits_for_one_try_and_hears_of_its_failure_at_once() -> None:
    operator = Operator()
    operator.is_away = True
    operator.may_answer.clear()
    tenants = registrar(operator, Keys(BOUNDED))
    waiting = [asyncio.create_task(tenants.ensure(BOUNDED)) for _ in range(50)]
    await operator.is_asked.wait()
    operator.may_answer.set()
    ends = await asyncio.gather(*waiting, return_exceptions=True)

    assert (operator.asked, {type(end) for end in ends}) == (1, {Problem})
    with pytest.raises(DependencyUnavailable):
        await tenants.run_once()
    operator.is_away = False
    await tenants.ensure(BOUNDED)
    assert len(operator.told) == 1


async def test_keys_that_change_while_they_are_told_are_told_too() -> None:
    operator, keys = Operator(), Keys(FREE)
    operator.may_answer.clear()
    tenants = registrar(operator, keys)
    telling = asyncio.create_task(tenants.run_once())
    await operator.is_asked.wait()
    keys.now = Keyring([BOUNDED])
    operator.may_answer.set()
    await tenants.ensure(BOUNDED)
    await telling

    assert [[one.tenant for one in page] for page in operator.told] == [["free"], ["acme"]]


async def test_without_a_keys_file_nothing_is_told() -> None:
    operator, keys = Operator(), Keys()
    keys.now = None
    await registrar(operator, keys).run_once()

    assert operator.asked == 0
