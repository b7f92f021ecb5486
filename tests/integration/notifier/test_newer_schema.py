"""A notifier that runs goes on when the next version's migrations have been applied under it."""

from common.ids import prefixed
from common.postgres import Database
from services.notifier.application.redelivery import DeliveryFilters
from services.notifier.application.webhook_requests import EndpointChange, NewWebhook
from services.notifier.application.webhooks import Webhooks
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.loops.dispatcher import Dispatcher
from services.notifier.loops.event_feed import EventFeed
from services.notifier.loops.housekeeping import Housekeeping
from services.notifier.loops.notices import Notices
from services.notifier.migrations import MIGRATIONS
from tests.support.notifier.scripted_store import (
    FAILURE,
    ScriptedJobService,
    ScriptedSender,
    Tables,
    job_event,
    key_of,
    store_at,
)
from tests.support.servers.newer_schema import REVISION, expand, revision


async def use_everything(
    database: Database, job_service: ScriptedJobService, sender: ScriptedSender, store: Tables, *, job: str
) -> None:
    """Calls what reads and writes each table, for a tenant of the job's name."""
    webhooks = Webhooks(
        database, sender, per_tenant=9, is_allowed_literal=lambda *_: True, new_key=key_of, changed=lambda: None
    )
    created = await webhooks.create(
        NewWebhook(tenant=job, url="https://one.example/", description="one", idempotency_key="key")
    )
    webhook_id = prefixed("wh", created.webhook.endpoint.id)
    await webhooks.test(job, webhook_id)
    job_service.events += [job_event(job, tenant=job, callback_url="https://two.example/"), job_event(tenant=job)]
    await EventFeed(database, job_service, delivered=lambda: None, new_key=key_of).run_once()

    # One fails, and is due again; its lease ends without an outcome; then it is delivered.
    [claim, *_] = store.claim()
    store.record(claim, FAILURE)
    store.pass_time(hours=1)
    assert store.claim()
    store.pass_time(hours=1)
    await Housekeeping(database, delivered=lambda: None).run_once()
    store.pass_time(hours=1)
    dispatcher = Dispatcher(database, job_service, sender, slots=16, per_minute=6_000, noticed=lambda: None)
    await dispatcher.run_once()
    await dispatcher.settle()
    assert DeliveryState.DELIVERED in store.states().values()

    for filters in (
        DeliveryFilters(tenant=job, webhook_id=webhook_id),
        DeliveryFilters(tenant=job, state=DeliveryState.DELIVERED),
        DeliveryFilters(tenant=job, job_id=job),
    ):
        deliveries, _ = await webhooks.list_deliveries(filters, page_size=9, page_token="")
        assert deliveries
    await webhooks.get_delivery(job, prefixed("msg", deliveries[0].id))
    await webhooks.redeliver(job, prefixed("msg", deliveries[0].id))
    await webhooks.rotate_secret(job, webhook_id, idempotency_key="", grace_seconds=60)
    assert await webhooks.signing_secret(job)
    await webhooks.update(job, webhook_id, EndpointChange(enabled=False))
    await Housekeeping(database, delivered=lambda: None).run_once()
    await webhooks.update(job, webhook_id, EndpointChange(enabled=True))
    await webhooks.redeliver_range(job, webhook_id, after=None, before=None)
    await webhooks.list_unhealthy()
    await Housekeeping(database, delivered=lambda: None).forget()
    await Notices(database, delivered=lambda: None).run_once()
    assert (await webhooks.list(job, page_size=9, page_token=""))[0]
    await webhooks.delete(job, webhook_id)


async def test_what_runs_and_what_starts_works_beside_the_next_versions_schema(
    database: Database,
    database_url: str,
    job_service: ScriptedJobService,
    sender: ScriptedSender,
    store: Tables,
) -> None:
    await use_everything(database, job_service, sender, store, job="before")
    expand(database_url)
    assert not MIGRATIONS.upgrade(database_url)
    assert revision(database_url) == REVISION

    # What starts has new connections; the other's statements were prepared before, and it makes new connections.
    with store_at(database_url) as started:
        assert not started.run(MIGRATIONS.is_behind)
        await use_everything(database, job_service, sender, started, job="after")
