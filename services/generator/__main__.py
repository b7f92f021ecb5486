"""Starts generator-service: settings, providers, adapters, server, loops."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from operator import attrgetter

from calotype import object_names, permissions
from calotype.environment import SETTINGS
from calotype.size_limits import MAX_WORKER_MESSAGE_BYTES

from common import admin_port, audit, config, folders, jetstream, lifecycle, logs
from common.admin_health import HealthProbes
from common.certificate_expiry import CertificateExpiry, certificate_files
from common.emptying import Emptier
from common.grpc_access import server_security
from common.grpc_client import channel
from common.grpc_server import serve
from common.health import Readiness
from common.ids import process_name
from common.leased_work import LeasedWork
from common.loops import run_every
from common.memory import Memory
from common.object_store import ObjectStore
from common.sweeping import Sweeper
from common.telemetry import metrics, registry
from common.tracing import tracing
from common.variables import hide_from_children
from services.generator.adapters import nats_wakeups
from services.generator.adapters.gcs_staging import GcsStaging
from services.generator.adapters.grpc_job_service import GrpcJobService
from services.generator.adapters.images.decoding.processes import DecodingProcesses
from services.generator.adapters.images.guarded_fetch import GuardedFetch
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.adapters.nats_facts import NatsFacts
from services.generator.adapters.providers import factory, provider_file
from services.generator.adapters.providers.procedural.process_pool import Renderers
from services.generator.application.run_job import Generator
from services.generator.application.settle_calls import Settler
from services.generator.settings import Settings
from services.operations_service import OperationsService

#: Variables that hold credentials, beside those of providers.
SECRETS = ("CALOTYPE_*", "STORAGE_EMULATOR_*", "OTEL_*")
#: Slots per provider for settlements; job-service gives no more of one provider, so no provider waits for another.
SETTLEMENTS_PER_PROVIDER = 8
#: Threads of the object store that deletes folders.
DELETING_THREADS = 16
#: Bytes of responses and images in memory: more than the largest response takes (`COPIES` of
#: `adapters/providers/http/responses.py`), within the memory that deploy/k8s leaves beside the process itself.
MAX_BYTES_IN_MEMORY = 768 * 1024 * 1024


async def main(stop: asyncio.Event) -> None:
    """Runs the service until `stop` is set."""
    settings = config.load(Settings, environ=os.environ, known=SETTINGS)
    logs.configure(service="generator", level=settings.log_level, form=settings.log_format)
    configured = provider_file.read(settings.providers_file, max_timeout_seconds=settings.max_generating_seconds)
    own_security = server_security(
        settings, roles=permissions.ACCEPTED, policy=permissions.policy, changes=permissions.changes
    )
    tls, ready, health = settings.broker_tls(), Readiness("broker", "catalogue"), HealthProbes()
    # Child processes decode and draw images, and need no credential.
    hide_from_children((*SECRETS, *(name for entry in configured.providers for name in entry.credential_variables)))
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing("generator"))
        await stack.enter_async_context(admin_port.serving("generator", settings, health=health))
        renderers = Renderers()
        stack.push_async_callback(renderers.close)
        decoder = DecodingProcesses()
        stack.push_async_callback(decoder.close)
        build = partial(factory.build, environ=os.environ, renderers=renderers, decoder=decoder)
        built = {entry.name: build(entry) for entry in configured.providers}
        audit.record(
            audit.RULES, audit.Actor(name=audit.PROCESS), action="readProviders", about=None, outcome=audit.DONE
        )
        for provider in built.values():
            stack.push_async_callback(provider.close)
        connecting = jetstream.connect(
            settings.nats_url, name="generator", password=settings.nats_password, tls=tls, ready=ready, stop=stop
        )
        broker = await stack.enter_async_context(connecting)
        connection = channel(settings.worker_address, settings=settings, max_message_bytes=MAX_WORKER_MESSAGE_BYTES)
        opened = await stack.enter_async_context(connection)
        bucket = ObjectStore(settings.staging_bucket, threads=settings.generator_slots)
        stack.push_async_callback(bucket.close)
        fetch = GuardedFetch()
        stack.push_async_callback(fetch.close)
        own_name = process_name("generator")
        job_service, facts = GrpcJobService(opened, worker_name=own_name, providers=list(built)), NatsFacts(broker)
        stripped = {entry.name for entry in configured.providers if entry.strip_metadata}
        staging, reader = GcsStaging(bucket), GuardedImageReader(fetch, decoder, stripped=stripped)
        memory = Memory(MAX_BYTES_IN_MEMORY)
        metrics.read(registry.IMAGE_MEMORY_BYTES, lambda: memory.held)
        generator = Generator(
            job_service=job_service, facts=facts, staging=staging, reader=reader, providers=built, memory=memory,
            traces_prompts=settings.trace_prompts,
        )  # fmt: skip
        settler = Settler(
            job_service=job_service, facts=facts, staging=staging, reader=reader, providers=built, memory=memory
        )
        catalogue = [
            provider.describe(is_default=provider.name == configured.default_name) for provider in built.values()
        ]
        jobs = LeasedWork(
            "jobs", slots=settings.generator_slots, claim=job_service.claim, renew=job_service.renew, run=generator.run,
            id_of=attrgetter("id"), wakeups=nats_wakeups.of_jobs(broker),
        )  # fmt: skip
        settlements = LeasedWork(
            "settlements", slots=min(SETTLEMENTS_PER_PROVIDER * len(built), 64), claim=job_service.claim_settlements,
            renew=job_service.renew_settlements, run=settler.run, wakeups=nats_wakeups.of_settlements(broker),
        )  # fmt: skip
        tasks = await stack.enter_async_context(lifecycle.Tasks(stop))
        served = [
            OperationsService(
                "generator", ready, work=[jobs, settlements], counters=lambda: {"bytes_held": memory.held}
            ).grpc_service()
        ]
        await stack.enter_async_context(serve(settings.grpc_listen, served, ready=ready, security=own_security))
        stack.enter_context(health.follow(ready))
        register = partial(job_service.register, catalogue, ready=ready)
        tasks.start(run_every("catalogue", register, interval=30.0, stop=stop), name="catalogue")
        tasks.start(own_security.run(stop), name="identities")
        # A separate store: paid images must not wait for deletions.
        emptied = ObjectStore(settings.staging_bucket, threads=DELETING_THREADS)
        stack.push_async_callback(emptied.close)
        emptier = Emptier(
            claim=job_service.claim_deletions,
            empty=partial(folders.empty, emptied),
            is_folder=object_names.is_staged_folder,
        )
        sweeper = Sweeper(job_service, lambda after, limit: emptied.names(after=after, limit=limit))
        for loop in (emptier, sweeper, CertificateExpiry(certificate_files(settings))):
            tasks.start(loop.run(stop), name=type(loop).__name__)
        tasks.start(settlements.work(stop, grace_seconds=1.0), name="settlements")
        await jobs.work(stop, grace_seconds=settings.grace_seconds)
        await generator.finish()


if __name__ == "__main__":
    sys.exit(lifecycle.run(main))
