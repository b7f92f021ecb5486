"""Bulk actions over gRPC, with the runner that works on them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import bulk_action_service_pb2 as bulk
from calotype.ops.v1 import bulk_action_service_pb2_grpc
from calotype.ops.v1.job_admin_service_pb2 import JobFilter

from common.errors import ServiceError
from common.grpc_client import call, channel
from common.grpc_server import serve
from common.health import Readiness
from common.postgres import Database
from services.job.domain.states import State
from services.job.grpc_api.bulk_action_service import BulkActionService
from services.job.loops.bulk_actions import BulkActionRunner
from services.job.loops.outbox_relay import OutboxRelay
from tests.support.brokers.facts import broker_at
from tests.support.job_service.use_cases import JobUseCases
from tests.support.patience import PATIENCE


@pytest.fixture
async def stub(desk: JobUseCases, database_url: str, nats_url: str) -> AsyncIterator[Any]:
    """The service over the wire, and its runner."""
    database, stop = Database(database_url, application="test", pool_size=3), asyncio.Event()
    async with broker_at(nats_url) as broker:
        runner = BulkActionRunner(database, OutboxRelay(database, broker))
        served = BulkActionService(database, runner)
        running = asyncio.create_task(runner.run(stop))
        listening = serve("127.0.0.1:0", [served.grpc_service()], ready=Readiness())
        async with listening as port, channel(f"127.0.0.1:{port}") as opened:
            yield bulk_action_service_pb2_grpc.BulkActionServiceStub(opened)
        stop.set()
        await running
    await database.close()


async def test_a_bulk_action_is_previewed_started_followed_and_listed(desk: JobUseCases, stub: Any) -> None:
    jobs = [desk.create().job.id for _ in range(30)]
    request = bulk.BulkActionRequest(
        kind=bulk.BULK_ACTION_KIND_CANCEL,
        filter=JobFilter(tenant="acme", statuses=[job_pb2.STATUS_QUEUED], provider="procedural"),
    )
    preview = await call(stub.PreviewBulkAction, bulk.PreviewBulkActionRequest(request=request), timeout=PATIENCE)
    assert (preview.matched, preview.is_matched_exact, list(preview.job_ids)) == (30, True, jobs[::-1][:10])

    create = bulk.CreateBulkActionRequest(request=request, principal="ops/key:1", idempotency_key="k")
    created = await call(stub.CreateBulkAction, create, timeout=PATIENCE)
    repeated = await call(stub.CreateBulkAction, create, timeout=PATIENCE)
    action = created.bulk_action
    assert (created.replayed, repeated.replayed, repeated.bulk_action.id) == (False, True, action.id)
    assert (action.request, action.requested_by, action.matched) == (request, "ops/key:1", 30)

    async with asyncio.timeout(PATIENCE):
        while action.state == bulk.BULK_ACTION_STATE_RUNNING:
            await asyncio.sleep(0.05)
            found = await call(stub.GetBulkAction, bulk.GetBulkActionRequest(id=action.id), timeout=PATIENCE)
            action = found.bulk_action
    assert (action.state, action.done) == (bulk.BULK_ACTION_STATE_FINISHED, 30)
    assert {desk.job(job).state for job in jobs} == {State.CANCELED}
    listed = await call(stub.ListBulkActions, bulk.ListBulkActionsRequest(), timeout=PATIENCE)
    stopped = await call(stub.CancelBulkAction, bulk.CancelBulkActionRequest(id=action.id), timeout=PATIENCE)
    assert [*listed.bulk_actions] == [stopped.bulk_action] == [action]


async def test_wrong_requests_are_refused(stub: Any) -> None:
    for method, request, reason in (
        (stub.PreviewBulkAction, bulk.PreviewBulkActionRequest(), Reason.INVALID_INPUT),
        (stub.CreateBulkAction, bulk.CreateBulkActionRequest(idempotency_key="\n"), Reason.INVALID_INPUT),
        (stub.GetBulkAction, bulk.GetBulkActionRequest(id="bulk_0"), Reason.NOT_FOUND),
        (stub.CancelBulkAction, bulk.CancelBulkActionRequest(id="bulk_0"), Reason.NOT_FOUND),
    ):
        with pytest.raises(ServiceError) as refusal:
            await call(method, request, timeout=PATIENCE)
        assert refusal.value.reason == reason
