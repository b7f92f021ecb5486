"""Starts notifier-service: settings, adapters, server, loops."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack

from calotype import permissions
from calotype.environment import SETTINGS

from common import admin_port, config, jetstream, lifecycle, logs
from common.admin_health import HealthProbes
from common.certificate_expiry import CertificateExpiry, certificate_files
from common.grpc_access import server_security
from common.grpc_client import channel
from common.grpc_server import serve
from common.health import Readiness
from common.postgres import Database
from common.telemetry import trace_links
from common.tracing import tracing
from services.notifier.adapters.grpc_job_service import MAX_RESPONSE_BYTES, GrpcJobService
from services.notifier.adapters.http_sender import HttpSender
from services.notifier.adapters.job_json import JobJson
from services.notifier.adapters.nats_wakeups import EventWakeUps
from services.notifier.adapters.signatures import new_key
from services.notifier.application.webhooks import Webhooks
from services.notifier.grpc_api.webhook_service import WebhookService
from services.notifier.loops.database_watch import DatabaseWatch
from services.notifier.loops.dispatcher import Dispatcher
from services.notifier.loops.event_feed import EventFeed
from services.notifier.loops.housekeeping import Housekeeping
from services.notifier.loops.lag import DeliveryLag
from services.notifier.loops.notices import Notices
from services.notifier.settings import Settings
from services.notifier.store.pools import CONNECTIONS, POOLS
from services.operations_service import OperationsService


async def main(stop: asyncio.Event) -> None:
    """Runs the service until `stop` is set."""
    settings = config.load(Settings, environ=os.environ, known=SETTINGS)
    logs.configure(service="notifier", level=settings.log_level, form=settings.log_format)
    own_security = server_security(
        settings, roles=permissions.ACCEPTED, policy=permissions.policy, changes=permissions.changes
    )
    tls, ready, health = settings.broker_tls(), Readiness("database", "schema", "broker"), HealthProbes()
    render, sender = JobJson(settings.root, trace_url=trace_links.checked(settings.trace_url)), _sender(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing("notifier"))
        await stack.enter_async_context(admin_port.serving("notifier", settings, health=health))
        database = Database(settings.database_url, application="calotype-notifier", pool_size=CONNECTIONS, pools=POOLS)
        stack.push_async_callback(database.close)
        connection = jetstream.connect(
            settings.nats_url, name="notifier", password=settings.nats_password, tls=tls, ready=ready, stop=stop
        )
        broker = await stack.enter_async_context(connection)
        opening = channel(settings.job_address, settings=settings, max_message_bytes=MAX_RESPONSE_BYTES)
        job_service = GrpcJobService(await stack.enter_async_context(opening), render=render)
        dispatcher = Dispatcher(
            database, job_service, sender, slots=settings.notifier_slots,
            per_minute=settings.webhook_deliveries_per_minute, noticed=lambda: notices.wake(),
        )  # fmt: skip
        feed = EventFeed(database, job_service, delivered=dispatcher.wake, new_key=new_key)
        notices = Notices(database, delivered=dispatcher.wake)
        housekeeping = Housekeeping(database, delivered=dispatcher.wake)

        def changed() -> None:
            dispatcher.wake()
            housekeeping.wake()

        webhooks = Webhooks(
            database, sender, per_tenant=settings.webhooks_per_tenant,
            is_allowed_literal=settings.address_policy.allows_literal, new_key=new_key, changed=changed,
        )  # fmt: skip
        tasks = await stack.enter_async_context(lifecycle.Tasks(stop))
        operations = OperationsService("notifier", ready, work=[dispatcher], counters=lambda: dict(dispatcher.counters))
        served = [WebhookService(webhooks).grpc_service(), operations.grpc_service()]
        await stack.enter_async_context(serve(settings.grpc_listen, served, ready=ready, security=own_security))
        stack.enter_context(health.follow(ready))
        wakeups, watch = EventWakeUps(broker, feed.wake), DatabaseWatch(database, ready)
        expiry = CertificateExpiry(certificate_files(settings))
        for loop in (watch, DeliveryLag(database), feed, notices, housekeeping, wakeups, own_security, expiry):
            tasks.start(loop.run(stop), name=type(loop).__name__)
        await dispatcher.work(stop, grace_seconds=settings.grace_seconds)


def _sender(settings: Settings) -> HttpSender:
    tls = settings.receiver_tls()
    try:
        return HttpSender(policy=settings.address_policy, proxy_url=settings.webhook_proxy_url, tls=tls)
    except ValueError:
        raise config.ConfigError("CALOTYPE_WEBHOOK_PROXY_URL: the given value is no URL of a proxy.") from None


if __name__ == "__main__":
    sys.exit(lifecycle.run(main))
