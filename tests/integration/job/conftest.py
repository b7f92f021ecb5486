"""job-service's use cases on a real database: one per module, emptied after each test; its API on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from calotype.job.v1 import job_service_pb2_grpc, worker_service_pb2_grpc
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from common.database_url import driver_url
from common.grpc_client import channel
from common.grpc_server import serve
from common.health import Readiness
from services.job.domain.timeouts import StageTimeouts
from services.job.grpc_api.job_service import JobService
from services.job.grpc_api.worker_service import WorkerService
from services.job.loops.job_watchers import Watchers
from services.job.loops.outbox_relay import OutboxRelay
from services.job.store.committed_changes import JobDatabase
from services.job.store.pools import CONNECTIONS, POOLS
from tests.support.brokers.facts import broker_at
from tests.support.job_service.api import Api
from tests.support.job_service.use_cases import JobUseCases, use_cases_at
from tests.support.patience import PATIENCE
from tests.support.servers import embedded_servers

# What refers to these goes with them.
ROOTS = (
    "jobs", "provider_calls", "provider_call_images", "idempotency_keys", "tenant_load", "deletions", "providers",
    "breakers", "tenant_rates", "resends", "registrations", "sweeps", "tenant_turns", "lanes", "load_changes",
    "tenant_limits", "tenant_spend", "pauses", "bulk_actions",
)  # fmt: skip


@pytest.fixture(scope="module")
def module_database(postgres: embedded_servers.Server, template: str) -> Iterator[str]:
    """A database of the module's own, with the newest schema."""
    url = embedded_servers.copy_database(postgres.url, template)
    yield url
    embedded_servers.drop_database(postgres.url, url)


@pytest.fixture
def database_url(module_database: str) -> Iterator[str]:
    """The module's database, empty."""
    yield module_database
    engine = create_engine(driver_url(module_database), poolclass=NullPool)
    with engine.begin() as connection:
        # A test that left a transaction open is told so, instead of hanging those after it.
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        for table in ROOTS:
            connection.execute(text(f"DELETE FROM {table}"))
    engine.dispose()


@pytest.fixture
def desk(database_url: str) -> Iterator[JobUseCases]:
    """A desk with the providers `procedural` (free, default) and `paid`."""
    with use_cases_at(database_url) as desk:
        yield desk


@pytest.fixture
async def api(desk: JobUseCases, database_url: str, nats_url: str) -> AsyncIterator[Api]:
    """job-service with its loops, without its monitor and consumer."""
    # Nothing times out on a busy machine.
    database = JobDatabase(
        database_url,
        application="test",
        pool_size=CONNECTIONS,
        pools=POOLS,
        lock_timeout_ms=int(PATIENCE * 1_000),
        statement_timeout_ms=int(PATIENCE * 1_000),
        queue_timeout_seconds=PATIENCE,
    )
    ready, stop = Readiness(), asyncio.Event()
    async with broker_at(nats_url) as broker:
        relay, watchers = OutboxRelay(database, broker), Watchers(database, broker)
        database.add_listener(relay.on_commit)
        database.add_listener(watchers.on_commit)
        served = [
            JobService(database, relay, watchers, public_base_url="http://pictures.test/bucket/").grpc_service(),
            WorkerService(database, relay, StageTimeouts()).grpc_service(),
        ]
        loops = [asyncio.create_task(loop.run(stop)) for loop in (relay, watchers)]
        async with serve("127.0.0.1:0", served, ready=ready, max_request_bytes=48 * 1024 * 1024) as port:
            async with channel(f"127.0.0.1:{port}", max_message_bytes=48 * 1024 * 1024) as opened:
                yield Api(
                    job_service_pb2_grpc.JobServiceStub(opened),
                    worker_service_pb2_grpc.WorkerServiceStub(opened),
                    broker,
                    watchers,
                    database,
                )
            stop.set()
            await asyncio.gather(*loops)
    await database.close()
