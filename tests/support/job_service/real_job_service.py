"""JobService and TenantService as they are, on a real database and a real broker, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.grpc_access import OPEN, ServerSecurity
from common.grpc_server import serve
from common.health import Readiness
from services.job.grpc_api.job_service import JobService
from services.job.grpc_api.tenant_service import TenantService
from services.job.loops.job_watchers import Watchers
from services.job.loops.outbox_relay import OutboxRelay
from services.job.store.committed_changes import JobDatabase
from tests.support.brokers.facts import broker_at


@asynccontextmanager
async def job_service(
    database_url: str, nats_url: str, door: ServerSecurity = OPEN, listen: str = "127.0.0.1:0"
) -> AsyncIterator[str]:
    """Serve them; yields their address."""
    database, stop = JobDatabase(database_url, application="test", pool_size=4), asyncio.Event()
    async with broker_at(nats_url) as broker:
        relay, watchers = OutboxRelay(database, broker), Watchers(database, broker)
        database.add_listener(relay.on_commit)
        database.add_listener(watchers.on_commit)
        jobs = JobService(database, relay, watchers, public_base_url="http://pictures.test/bucket/")
        served = [jobs.grpc_service(), TenantService(database).grpc_service()]
        loops = [asyncio.create_task(loop.run(stop)) for loop in (relay, watchers)]
        async with serve(listen, served, ready=Readiness(), security=door) as port:
            yield f"127.0.0.1:{port}"
            stop.set()
            await asyncio.gather(*loops)
    await database.close()
