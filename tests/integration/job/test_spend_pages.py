"""Pages of the tenants' spend, by tenant."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from calotype.ops.v1 import tenant_service_pb2, tenant_service_pb2_grpc

from common.grpc_client import call, channel
from common.grpc_server import serve
from common.health import Readiness
from common.postgres import Database
from services.job.grpc_api.tenant_service import TenantService
from tests.support.patience import PATIENCE


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Any]:
    """TenantService over gRPC."""
    database = Database(database_url, application="test", pool_size=2)
    served = TenantService(database).grpc_service()
    async with serve("127.0.0.1:0", [served], ready=Readiness()) as port, channel(f"127.0.0.1:{port}") as opened:
        yield tenant_service_pb2_grpc.TenantServiceStub(opened)
    await database.close()


async def test_a_full_last_page_has_no_token(service: Any) -> None:
    limits = [tenant_service_pb2.TenantLimits(tenant=f"t{n}", budget_micros_per_day=1) for n in range(4)]
    await call(service.SetTenantLimits, tenant_service_pb2.SetTenantLimitsRequest(tenants=limits), timeout=PATIENCE)
    tokens, pages = [""], []
    while len(pages) < 2:
        request = tenant_service_pb2.ListSpendRequest(page_size=2, page_token=tokens[-1])
        page = await call(service.ListSpend, request, timeout=PATIENCE)
        pages.append([spend.limits.tenant for spend in page.tenants])
        tokens.append(page.next_page_token)

    assert pages == [["t0", "t1"], ["t2", "t3"]]
    assert tokens == ["", "t1", ""]
