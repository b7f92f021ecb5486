"""Starts uploader-service: settings, adapters, server, loops."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial

from calotype import object_names, permissions, streams
from calotype.environment import SETTINGS

from common import admin_port, config, folders, jetstream, lifecycle, logs
from common.admin_health import HealthProbes
from common.certificate_expiry import CertificateExpiry, certificate_files
from common.consuming import WakeUps
from common.declarations import ConsumerSpec
from common.emptying import Emptier
from common.grpc_access import server_security
from common.grpc_client import channel
from common.grpc_server import serve
from common.health import Readiness
from common.ids import process_name
from common.leased_work import LeasedWork
from common.object_store import ObjectStore
from common.sweeping import Sweeper
from common.tracing import tracing
from services.operations_service import OperationsService
from services.uploader.adapters.gcs_store import GcsPublicStore
from services.uploader.adapters.grpc_job_service import GrpcJobService
from services.uploader.adapters.nats_facts import NatsFacts
from services.uploader.application import Uploader
from services.uploader.settings import Settings

WAKE_UPS, DELETIONS = ConsumerSpec(**streams.UPLOADER_WAKE), ConsumerSpec(**streams.UPLOADER_DELETE)
#: Threads of the object store that deletes folders.
DELETING_THREADS = 16


async def main(stop: asyncio.Event) -> None:
    """Runs the service until `stop` is set."""
    settings = config.load(Settings, environ=os.environ, known=SETTINGS)
    logs.configure(service="uploader", level=settings.log_level, form=settings.log_format)
    own_security = server_security(
        settings, roles=permissions.ACCEPTED, policy=permissions.policy, changes=permissions.changes
    )
    tls, ready, health = settings.broker_tls(), Readiness("broker"), HealthProbes()
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing("uploader"))
        await stack.enter_async_context(admin_port.serving("uploader", settings, health=health))
        connection = jetstream.connect(
            settings.nats_url, name="uploader", password=settings.nats_password, tls=tls, ready=ready, stop=stop
        )
        broker = await stack.enter_async_context(connection)
        opened = await stack.enter_async_context(channel(settings.worker_address, settings=settings))
        bucket = ObjectStore(settings.bucket, threads=settings.uploader_slots)
        stack.push_async_callback(bucket.close)
        job_service = GrpcJobService(opened, worker_name=process_name("uploader"))
        store = GcsPublicStore(
            bucket, staging_bucket=settings.staging_bucket, cache_seconds=settings.public_cache_seconds
        )
        uploader = Uploader(job_service, store, NatsFacts(broker))
        uploads = LeasedWork(
            "uploads",
            slots=settings.uploader_slots,
            claim=job_service.claim,
            renew=job_service.renew,
            run=uploader.run,
            wakeups=WakeUps(broker, WAKE_UPS),
        )

        # A separate store: copies must not wait for deletions.
        emptied = ObjectStore(settings.bucket, threads=DELETING_THREADS)
        stack.push_async_callback(emptied.close)
        emptier = Emptier(
            claim=job_service.claim_deletions,
            empty=partial(folders.empty, emptied),
            is_folder=object_names.is_public_folder,
            wakeups=WakeUps(broker, DELETIONS),
            may_begin=lambda: not uploads.draining,
        )
        sweeper = Sweeper(job_service, lambda after, limit: emptied.names(after=after, limit=limit))
        tasks = await stack.enter_async_context(lifecycle.Tasks(stop))
        operations = OperationsService("uploader", ready, work=[uploads])
        await stack.enter_async_context(
            serve(settings.grpc_listen, [operations.grpc_service()], ready=ready, security=own_security)
        )
        stack.enter_context(health.follow(ready))
        tasks.start(own_security.run(stop), name="identities")
        for loop in (emptier, sweeper, CertificateExpiry(certificate_files(settings))):
            tasks.start(loop.run(stop), name=type(loop).__name__)
        await uploads.work(stop, grace_seconds=settings.grace_seconds)


if __name__ == "__main__":
    sys.exit(lifecycle.run(main))
