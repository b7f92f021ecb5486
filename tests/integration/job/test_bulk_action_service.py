"""Bulk actions over gRPC, with the runner that works on them."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from calotype.client import InvalidRequest, JobNotFound, NotFound
from calotype.client.aio_admin import AsyncAdminMethods
from calotype.client.sync_admin import AdminMethods
from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import bulk_action_service_pb2 as bulk
from calotype.ops.v1 import bulk_action_service_pb2_grpc
from calotype.ops.v1.job_admin_service_pb2 import PAUSE_KIND_QUEUE, JobFilter

from common.errors import ServiceError
from common.grpc_client import call, channel
from common.grpc_server import serve
from common.health import Readiness
from common.postgres import Database
from services.job.domain.states import State
from services.job.grpc_api.bulk_action_service import BulkActionService
from services.job.grpc_api.job_admin_service import JobAdminService
from services.job.grpc_api.queue_service import QueueService
from services.job.loops.bulk_actions import BulkActionRunner
from services.job.loops.outbox_relay import OutboxRelay
from tests.support.brokers.facts import broker_at
from tests.support.clients.python_clients import KINDS, client
from tests.support.job_service.use_cases import JobUseCases
from tests.support.patience import PATIENCE


@pytest.fixture
async def address(desk: JobUseCases, database_url: str, nats_url: str) -> AsyncIterator[str]:
    """The services of operators over the wire, and the runner."""
    database, stop = Database(database_url, application="test", pool_size=3), asyncio.Event()
    async with broker_at(nats_url) as broker:
        relay = OutboxRelay(database, broker)
        runner = BulkActionRunner(database, relay)
        served = [
            BulkActionService(database, runner).grpc_service(),
            JobAdminService(database, relay, public_base_url="http://pictures.test/").grpc_service(),
            QueueService(database, public_base_url="http://pictures.test/").grpc_service(),
        ]
        running = asyncio.create_task(runner.run(stop))
        async with serve("127.0.0.1:0", served, ready=Readiness()) as port:
            yield f"127.0.0.1:{port}"
        stop.set()
        await running
    await database.close()


@pytest.fixture
async def stub(address: str) -> AsyncIterator[Any]:
    """The service."""
    async with channel(address) as opened:
        yield bulk_action_service_pb2_grpc.BulkActionServiceStub(opened)


async def over(look: Callable[[], Awaitable[Any]]) -> Any:
    """The bulk action, once it is not running any more."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await look()
            if found.state != bulk.BULK_ACTION_STATE_RUNNING:
                return found
            await asyncio.sleep(0.05)


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

    async def look() -> Any:
        request = bulk.GetBulkActionRequest(id=action.id)
        return (await call(stub.GetBulkAction, request, timeout=PATIENCE)).bulk_action

    action = await over(look)
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


@pytest.mark.parametrize("kind", KINDS)
async def test_the_python_clients_have_the_calls_of_operators(desk: JobUseCases, address: str, kind: str) -> None:
    jobs = [desk.create(tenant=f"t{number}").job.id for number in range(3)]
    async with client(kind, address) as opened:
        admin = opened.admin
        paused = await admin.pause(PAUSE_KIND_QUEUE, note="new key")
        assert (paused.id, paused.paused_by, [*await admin.pauses()]) == ("queue", "acme", [paused])
        assert [await admin.resume(PAUSE_KIND_QUEUE) for _ in range(2)] == [True, False]
        assert [found.job.id async for found in admin.jobs()] == jobs[::-1]
        assert [found.tenant async for found in admin.jobs(JobFilter(tenant="t1"))] == ["t1"]
        assert (await admin.job(jobs[0])).tenant == "t0"

        request = bulk.BulkActionRequest(kind=bulk.BULK_ACTION_KIND_CANCEL, filter=JobFilter(tenant="t2"))
        assert (await admin.preview_bulk_action(request)).job_ids == [jobs[2]]
        started = await admin.create_bulk_action(request, idempotency_key="k", by="eve")
        assert (await admin.create_bulk_action(request, idempotency_key="k", by="eve")).id == started.id
        assert started.requested_by == "eve"
        action = await over(lambda: admin.bulk_action(started.id))
        assert (action.done, desk.job(jobs[2]).state) == (1, State.CANCELED)
        assert await admin.cancel_bulk_action(started.id) == action
        assert [*await admin.bulk_actions()] == [action]
        for error, refused in (
            (InvalidRequest, admin.preview_bulk_action(bulk.BulkActionRequest())),
            (NotFound, admin.bulk_action("unknown")),
            (JobNotFound, admin.job("unknown")),
        ):
            with pytest.raises(error):
                await refused


def test_both_python_clients_have_the_same_calls_of_operators() -> None:
    def methods(kind: type[Any]) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(method).parameters) for name, method in found if name[0] != "_"}

    assert methods(AdminMethods) == methods(AsyncAdminMethods)
