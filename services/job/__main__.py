"""Starts job-service: settings, adapters, servers, loops."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

from calotype import permissions, streams
from calotype.environment import SETTINGS
from calotype.size_limits import MAX_JOB_MESSAGE_BYTES

from common import admin_port, config, jetstream, lifecycle, logs
from common.admin_health import HealthProbes
from common.certificate_expiry import CertificateExpiry, certificate_files
from common.declarations import ConsumerSpec, StreamSpec
from common.grpc_access import server_security
from common.grpc_server import serve
from common.health import Readiness
from common.loops import run_every
from common.tracing import tracing
from services.job.dead_letters import DeadLetters
from services.job.grpc_api.bulk_action_service import BulkActionService
from services.job.grpc_api.dead_letter_service import DeadLetterService
from services.job.grpc_api.job_admin_service import JobAdminService
from services.job.grpc_api.job_service import JobService
from services.job.grpc_api.queue_service import QueueService
from services.job.grpc_api.tenant_service import TenantService
from services.job.grpc_api.worker_service import WorkerService
from services.job.loops.bulk_actions import BulkActionRunner
from services.job.loops.fact_consumer import FactConsumer
from services.job.loops.gauges import SharedGauges
from services.job.loops.job_watchers import Watchers
from services.job.loops.outbox_relay import OutboxRelay
from services.job.loops.parked_facts import ParkedFacts
from services.job.loops.purger import Purger
from services.job.loops.stale_job_monitor import StaleJobMonitor
from services.job.settings import Settings
from services.job.store.committed_changes import JobDatabase
from services.job.store.pools import CONNECTIONS, POOLS
from services.operations_service import OperationsService


async def main(stop: asyncio.Event) -> None:
    """Runs job-service until `stop` is set."""
    settings = config.load(Settings, environ=os.environ, known=SETTINGS)
    logs.configure(service="job", level=settings.log_level, form=settings.log_format)
    own_security = server_security(
        settings, roles=permissions.ACCEPTED, policy=permissions.policy, changes=permissions.changes
    )
    tls, ready, health = settings.broker_tls(), Readiness("database", "schema", "broker"), HealthProbes()
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing("job"))
        await stack.enter_async_context(admin_port.serving("job", settings, health=health))
        database = JobDatabase(settings.database_url, application="calotype-job", pool_size=CONNECTIONS, pools=POOLS)
        stack.push_async_callback(database.close)
        connection = jetstream.connect(
            settings.nats_url,
            name="job",
            password=settings.nats_password,
            tls=tls,
            streams=[StreamSpec(**stream, replicas=settings.stream_replicas) for stream in streams.STREAMS],
            consumers=[ConsumerSpec(**consumer) for consumer in streams.WAKE_CONSUMERS],
            ready=ready,
            stop=stop,
        )
        broker = await stack.enter_async_context(connection)
        relay, limits = OutboxRelay(database, broker), settings.limits
        watchers, consumer = Watchers(database, broker), FactConsumer(database, broker, relay, limits)
        for listener in (relay.on_commit, watchers.on_commit):
            database.add_listener(listener)
        monitor = StaleJobMonitor(database, broker, relay, limits, interval_seconds=settings.monitor_interval_seconds)
        purger = Purger(
            database,
            limits,
            retention=timedelta(days=settings.retention_days),
            key_retention=timedelta(days=settings.idempotency_retention_days),
        )
        clients = JobService(database, relay, watchers, public_base_url=settings.public_base_url)
        workers = WorkerService(database, relay, limits)
        operations, dead_letters = OperationsService("job", ready), DeadLetterService(DeadLetters(broker, database))
        queue = QueueService(database, public_base_url=settings.public_base_url)
        job_admin = JobAdminService(database, relay, public_base_url=settings.public_base_url)
        bulk_runner = BulkActionRunner(database, relay)
        bulk = BulkActionService(database, bulk_runner)
        for_operators = (operations, dead_letters, queue, job_admin, bulk, TenantService(database))
        for_clients = [service.grpc_service() for service in (clients, *for_operators)]
        listen = partial(serve, ready=ready, security=own_security)
        tasks = await stack.enter_async_context(lifecycle.Tasks(stop))
        await stack.enter_async_context(
            listen(settings.grpc_listen, for_clients, max_request_bytes=MAX_JOB_MESSAGE_BYTES)
        )
        await stack.enter_async_context(listen(settings.worker_listen, [workers.grpc_service()]))
        stack.enter_context(health.follow(ready))
        watch = partial(consumer.watch_database, ready)
        tasks.start(run_every("database_watch", watch, interval=1.0, stop=stop), name="database watch")
        for loop in (
            relay,
            consumer,
            ParkedFacts(broker),
            SharedGauges(database, broker),
            monitor,
            watchers,
            purger,
            bulk_runner,
            own_security,
            CertificateExpiry(certificate_files(settings)),
        ):
            tasks.start(loop.run(stop), name=type(loop).__name__)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(lifecycle.run(main))
