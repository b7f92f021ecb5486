"""The use cases that gRPC calls: endpoints, secrets, lists, redelivery, deletion."""

import asyncio
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from common.ids import prefixed
from common.postgres import Database
from common.sql import Connection, text
from services.notifier.application import attempts, webhook_creation
from services.notifier.application.redelivery import MAX_RANGES, DeliveryFilters
from services.notifier.application.webhook_requests import EndpointChange, NewWebhook
from services.notifier.application.webhooks import Webhooks
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.endpoints import SignatureScheme
from services.notifier.domain.events import CANCELED, FAILED, SETTLED, TEST
from services.notifier.domain.health import DisabledReason, EndpointState
from services.notifier.domain.refusals import Refusal
from services.notifier.loops.housekeeping import Housekeeping
from services.notifier.store import endpoints, retention
from tests.support.notifier.scripted_store import FAILURE, ScriptedSender, Tables, job_event, key_of
from tests.support.patience import PATIENCE

URL = "https://example.com/"
HELD, PENDING, DELIVERED = DeliveryState.HELD, DeliveryState.PENDING, DeliveryState.DELIVERED


@pytest.fixture
def webhooks(database: Database, sender: ScriptedSender, store: Tables) -> Webhooks:
    """The use cases; keys are different, and quotas small."""
    numbers = count(1)
    return Webhooks(
        database,
        sender,
        per_tenant=3,
        is_allowed_literal=lambda host, port: host != "169.254.169.254" and port != 22,
        new_key=lambda: key_of(next(numbers)),
        changed=lambda: None,
    )


@pytest.fixture
def housekeeping(database: Database) -> Housekeeping:
    """What works off what the use cases leave."""
    return Housekeeping(database, delivered=lambda: None)


def written(endpoint: Any) -> str:
    return prefixed("wh", endpoint.id)


async def refused(call: Any) -> Refusal:
    """The refusal of a call."""
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value


async def new(webhooks: Webhooks, tenant: str = "acme", **fields: Any) -> str:
    """A new endpoint's id."""
    created = await webhooks.create(NewWebhook(**({"tenant": tenant, "url": URL} | fields)))
    return written(created.webhook.endpoint)


async def test_an_endpoint_is_created_with_one_secret(webhooks: Webhooks) -> None:
    request = NewWebhook(
        tenant="acme", url=URL, description="mine", event_types=(FAILED, FAILED, SETTLED), scheme=SignatureScheme.V1A
    )
    created = await webhooks.create(request)
    found = await webhooks.get("acme", written(created.webhook.endpoint))
    assert found == created.webhook
    assert (found.secrets, created.replayed) == ([created.secret], False)
    endpoint = found.endpoint
    assert (endpoint.url, endpoint.description, endpoint.event_types) == (URL, "mine", (FAILED, SETTLED))
    assert (endpoint.scheme, endpoint.health.state) == (SignatureScheme.V1A, EndpointState.HEALTHY)
    assert repr(created.secret.key) not in repr(created)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("url", {"url": "ftp://example.com"}),
        ("url", {"url": "http://169.254.169.254/latest"}),
        ("url", {"url": "https://example.com:22/"}),
        ("description", {"description": "x" * 201}),
        ("description", {"description": "two\nlines"}),
        ("description", {"description": "\x00"}),
        ("description", {"description": "\ud800"}),
        ("event_types.1", {"event_types": (FAILED, "job.started")}),
        ("event_types.0", {"event_types": (TEST,)}),
        ("event_types", {"event_types": (FAILED,) * 8}),
    ],
)
async def test_invalid_fields_are_refused(webhooks: Webhooks, field: str, fields: dict[str, Any]) -> None:
    refusal = await refused(webhooks.create(NewWebhook(**({"tenant": "acme", "url": URL} | fields))))
    assert (refusal.reason, refusal.violations[0].field) == ("INVALID_INPUT", field)
    webhook_id = await new(webhooks)
    refusal = await refused(webhooks.update("acme", webhook_id, EndpointChange(**fields)))
    assert (refusal.reason, refusal.violations[0].field) == ("INVALID_INPUT", field)


async def test_a_key_creates_one_endpoint_even_at_the_same_time(webhooks: Webhooks) -> None:
    request = NewWebhook(tenant="acme", url=URL, idempotency_key="key")
    created = await asyncio.gather(*(webhooks.create(request) for _ in range(4)))
    assert sorted(each.replayed for each in created) == [False, True, True, True]
    assert len({each.webhook.endpoint.id for each in created}) == 1
    assert len({each.secret.key for each in created}) == 1

    refusal = await refused(webhooks.create(replace(request, url="https://example.com/other")))
    assert refusal.reason == "IDEMPOTENCY_KEY_REUSED"
    assert not (await webhooks.create(replace(request, tenant="other"))).replayed
    await webhooks.delete("acme", written(created[0].webhook.endpoint))
    assert (await refused(webhooks.create(request))).reason == "NOT_FOUND"


async def test_the_quota_holds_at_the_same_time(webhooks: Webhooks) -> None:
    requests = [webhooks.create(NewWebhook(tenant="acme", url=URL)) for _ in range(6)]
    results = await asyncio.gather(*requests, return_exceptions=True)
    reasons = [result.reason for result in results if isinstance(result, Refusal)]
    assert reasons == ["QUOTA_EXCEEDED"] * 3
    page, _ = await webhooks.list("acme", page_size=0, page_token="")
    await webhooks.delete("acme", written(page[0].endpoint))
    await new(webhooks)


def test_a_creation_waits_for_one_that_may_fill_the_quota(store: Tables) -> None:
    create = partial(webhook_creation.create, new=NewWebhook(tenant="acme", url=URL), per_tenant=1, new_key=key_of)

    def first(connection: Connection) -> "Future[Any]":
        create(connection)
        second = threads.submit(store.run, create)
        waiting = text("SELECT 1 FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
        while not store.run(lambda c: c.execute(waiting).first()):
            assert not second.done()
        return second

    with ThreadPoolExecutor(1) as threads:
        refusal = store.run(first).exception(PATIENCE)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "QUOTA_EXCEEDED"


async def test_another_tenants_endpoint_is_not_found(webhooks: Webhooks) -> None:
    webhook_id = await new(webhooks)
    for wrong in (webhook_id, f"wh_{uuid4().hex}", "wh_1", "", "\x00", f"job_{uuid4().hex}"):
        for call in (
            webhooks.get("other", wrong),
            webhooks.update("other", wrong, EndpointChange(description="x")),
            webhooks.update("other", wrong, EndpointChange(enabled=True)),
            webhooks.test("other", wrong),
            webhooks.redeliver_range("other", wrong, after=None, before=None),
        ):
            refusal = await refused(call)
            assert (refusal.reason, refusal.hides) == ("NOT_FOUND", wrong == webhook_id)
    await webhooks.delete("other", webhook_id)
    await webhooks.get("acme", webhook_id)


async def test_the_origin_of_callback_urls_is_no_endpoint(webhooks: Webhooks, store: Tables) -> None:
    store.fan_out(job_event(callback_url=URL))
    [row] = store.sql("SELECT id FROM webhook_endpoints")
    assert (await refused(webhooks.get("acme", prefixed("wh", row.id)))).reason == "NOT_FOUND"
    await webhooks.delete("acme", prefixed("wh", row.id))
    assert await webhooks.list("acme", page_size=0, page_token="") == ([], "")
    assert len(store.claim()) == 1


async def test_pages_list_endpoints_from_the_oldest(webhooks: Webhooks) -> None:
    ids = [await new(webhooks) for _ in range(3)]
    await new(webhooks, tenant="other")
    first, token = await webhooks.list("acme", page_size=2, page_token="")
    second, end = await webhooks.list("acme", page_size=2, page_token=token)
    assert [written(each.endpoint) for each in (*first, *second)] == ids
    assert (end, [len(each.secrets) for each in first]) == ("", [1, 1])
    for wrong in (token[:-1], "x" + token, "\x00", "A" * 5_000):
        assert (await refused(webhooks.list("acme", page_size=2, page_token=wrong))).reason == "INVALID_INPUT"
    assert (await refused(webhooks.list("other", page_size=2, page_token=token))).reason == "INVALID_INPUT"
    assert (await refused(webhooks.list("acme", page_size=-1, page_token=""))).reason == "INVALID_INPUT"


async def test_a_change_leaves_other_fields(webhooks: Webhooks) -> None:
    webhook_id = await new(webhooks, description="mine", event_types=(FAILED,))
    changed = await webhooks.update("acme", webhook_id, EndpointChange(description=""))
    assert (changed.endpoint.description, changed.endpoint.event_types) == ("", (FAILED,))
    changed = await webhooks.update("acme", webhook_id, EndpointChange(event_types=()))
    assert (changed.endpoint.event_types, changed.endpoint.url) == ((), URL)
    assert changed.endpoint.updated_at > changed.endpoint.created_at


async def test_disable_hold_enable_and_redeliver_a_range(
    webhooks: Webhooks, store: Tables, housekeeping: Housekeeping
) -> None:
    webhook_id = await new(webhooks)
    store.fan_out(*(job_event(f"job_{number}") for number in range(3)))
    disabled = await webhooks.update("acme", webhook_id, EndpointChange(enabled=False))
    assert disabled.endpoint.health.disabled_reason is DisabledReason.BY_TENANT
    store.fan_out(*(job_event(f"job_{number}") for number in range(3, 6)))
    held, _ = await webhooks.list_deliveries(
        DeliveryFilters(tenant="acme", webhook_id=webhook_id, state=HELD), page_size=0, page_token=""
    )
    assert [delivery.job_id for delivery in held] == [f"job_{number}" for number in range(5, -1, -1)]
    for call in (
        webhooks.redeliver_range("acme", webhook_id, after=None, before=None),
        webhooks.redeliver("acme", prefixed("msg", held[0].id)),
    ):
        assert (await refused(call)).reason == "WRONG_STATE"

    # The deliveries that were pending are held even if the endpoint is enabled at once.
    enabled = await webhooks.update("acme", webhook_id, EndpointChange(enabled=True))
    assert enabled.endpoint.health.state is EndpointState.HEALTHY
    assert (set(store.states().values()), store.claim()) == ({HELD}, [])
    assert await webhooks.redeliver_range("acme", webhook_id, after=None, before=None) == 6
    assert (await housekeeping.run_once())["redelivered"] == 6
    assert store.deliver() == [(f"job_{number}", 1) for number in range(6)]
    assert await webhooks.redeliver_range("acme", webhook_id, after=None, before=None) == 0
    assert store.sql("SELECT 1 FROM webhook_redeliveries") == []


async def test_a_range_is_what_was_created_in_it(webhooks: Webhooks, store: Tables, housekeeping: Housekeeping) -> None:
    webhook_id = await new(webhooks)
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=False))
    times = []
    for number in range(4):
        store.fan_out(job_event(f"job_{number}"))
        times.append(store.shown(store.delivery_id(f"job_{number}")).created_at)
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=True))
    assert await webhooks.redeliver_range("acme", webhook_id, after=times[1], before=times[3]) == 2
    await housekeeping.run_once()
    assert [job for job, _ in store.deliver()] == ["job_1", "job_2"]
    refusal = await refused(webhooks.redeliver_range("acme", webhook_id, after=times[1], before=times[1]))
    assert refusal.reason == "INVALID_INPUT"


async def test_a_large_range_is_worked_off_in_batches_by_whoever_lives(
    webhooks: Webhooks, store: Tables, housekeeping: Housekeeping
) -> None:
    webhook_id = await new(webhooks)
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=False))
    for page in range(6):
        store.fan_out(*(job_event(f"job_{page * 200 + number:04}") for number in range(200)))
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=True))
    assert await webhooks.redeliver_range("acme", webhook_id, after=None, before=None) == 1_200
    both = [housekeeping, housekeeping]
    counts = await asyncio.gather(*(each.run_once() for each in both))
    assert sum(each["redelivered"] for each in counts) == 1_200
    assert set(store.states().values()) == {PENDING}


async def test_a_range_leaves_what_a_later_event_made_unnecessary(
    webhooks: Webhooks, store: Tables, housekeeping: Housekeeping
) -> None:
    webhook_id = await new(webhooks)
    store.fan_out(job_event(sequence=3, type_=FAILED))
    store.sql("UPDATE webhook_deliveries SET attempt_count = 9, attempts_made = 9")
    [claim] = store.claim()
    assert store.record(claim, FAILURE).state is DeliveryState.FAILED
    store.fan_out(job_event(sequence=9))
    store.deliver()
    assert await webhooks.redeliver_range("acme", webhook_id, after=None, before=None) == 0
    assert (await housekeeping.run_once())["redelivered"] == 0


async def test_the_ranges_of_an_endpoint_are_bounded(webhooks: Webhooks, store: Tables) -> None:
    webhook_id = await new(webhooks)
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=False))
    store.fan_out(job_event())
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=True))
    for _ in range(MAX_RANGES):
        assert await webhooks.redeliver_range("acme", webhook_id, after=None, before=None) == 1
    refusal = await refused(webhooks.redeliver_range("acme", webhook_id, after=None, before=None))
    assert refusal.reason == "QUOTA_EXCEEDED"


async def test_a_range_of_an_endpoint_that_is_disabled_meanwhile_is_dropped(
    webhooks: Webhooks, store: Tables, housekeeping: Housekeeping
) -> None:
    webhook_id = await new(webhooks)
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=False))
    store.fan_out(job_event())
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=True))
    await webhooks.redeliver_range("acme", webhook_id, after=None, before=None)
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=False))
    await housekeeping.run_once()
    assert (store.states(), store.sql("SELECT 1 FROM webhook_redeliveries")) == ({("job_1", 1): HELD}, [])


async def test_one_delivery_is_sent_again_with_all_its_attempts(webhooks: Webhooks, store: Tables) -> None:
    await new(webhooks)
    store.fan_out(job_event())
    delivery_id = prefixed("msg", store.delivery_id())
    assert (await refused(webhooks.redeliver("acme", delivery_id))).reason == "WRONG_STATE"
    [claim] = store.claim()
    assert (await refused(webhooks.redeliver("acme", delivery_id))).reason == "WRONG_STATE"
    store.record(claim)
    assert (await refused(webhooks.redeliver("other", delivery_id))).reason == "NOT_FOUND"
    again = await webhooks.redeliver("acme", delivery_id)
    assert (again.state, again.attempt_count, again.delivered_at) == (PENDING, 0, None)
    [claim] = store.claim()
    assert prefixed("msg", claim.delivery.id) == delivery_id
    store.record(claim)
    delivery, made = await webhooks.get_delivery("acme", delivery_id)
    assert (delivery.state, [attempt.number for attempt in made]) == (DELIVERED, [1, 2])


async def test_lists_show_what_filters_name(webhooks: Webhooks, store: Tables) -> None:
    webhook_id = await new(webhooks)
    store.fan_out(job_event("job_0", 1), job_event("job_1", 1, CANCELED), job_event("job_1", 2, SETTLED))
    for _ in range(1):
        [claim] = store.claim(1)
        store.record(claim)
    await check_lists(webhooks, webhook_id)
    store.fan_out(
        *(job_event(f"job_{n}", n, FAILED, callback_url=f"{URL}{n}") for n in (7, 8)), job_event(tenant="other")
    )
    callbacks, _ = await webhooks.list_deliveries(DeliveryFilters(tenant="acme"), page_size=0, page_token="")
    assert [(each.url, each.endpoint_id, each.sequence) for each in callbacks] == [
        (f"{URL}8", None, 8), (f"{URL}7", None, 7),
    ]  # fmt: skip
    wrong = DeliveryFilters(tenant="acme", event_type="job.started")
    assert (await refused(webhooks.list_deliveries(wrong, page_size=0, page_token=""))).reason == "INVALID_INPUT"


async def check_lists(webhooks: Webhooks, webhook_id: str) -> None:
    async def jobs(**filters: Any) -> list[str | None]:
        """What a list shows, page by page."""
        wanted, found, token = DeliveryFilters(tenant="acme", webhook_id=webhook_id, **filters), [], ""
        while True:
            page, token = await webhooks.list_deliveries(wanted, page_size=1, page_token=token)
            found += [f"{each.job_id} {each.sequence}" for each in page]
            if not token:
                return found

    assert await jobs() == ["job_1 2", "job_1 1", "job_0 1"]
    assert await jobs(state=DELIVERED) == ["job_0 1"]
    assert await jobs(state=PENDING) == ["job_1 2", "job_1 1"]
    assert await jobs(event_type=SETTLED) == ["job_1 2"]
    assert await jobs(state=PENDING, event_type=CANCELED) == ["job_1 1"]
    assert await jobs(state=HELD) == []
    await webhooks.update("acme", webhook_id, EndpointChange(enabled=False))
    assert await jobs(state=HELD) == ["job_1 2", "job_1 1"]
    assert await jobs(state=PENDING) == []


async def test_rotation_leaves_two_secrets_until_the_old_one_expires(webhooks: Webhooks, store: Tables) -> None:
    webhook_id = await new(webhooks)
    first = (await webhooks.get("acme", webhook_id)).secrets[0]
    second = await webhooks.rotate_secret("acme", webhook_id, idempotency_key="", grace_seconds=None)
    live = (await webhooks.get("acme", webhook_id)).secrets
    assert [secret.key for secret in live] == [second.secret.key, first.key]
    assert second.old_expires_at == live[1].expires_at
    assert second.old_expires_at is not None
    assert abs(second.old_expires_at - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=10)

    third = await webhooks.rotate_secret("acme", webhook_id, idempotency_key="", grace_seconds=3_600)
    live = (await webhooks.get("acme", webhook_id)).secrets
    assert [secret.key for secret in live] == [third.secret.key, second.secret.key]
    store.pass_time(hours=1)
    assert [secret.key for secret in (await webhooks.get("acme", webhook_id)).secrets] == [third.secret.key]
    await webhooks.rotate_secret("acme", webhook_id, idempotency_key="", grace_seconds=0)
    assert len((await webhooks.get("acme", webhook_id)).secrets) == 1
    store.fan_out(job_event())
    [claim] = store.claim()
    assert list(claim.secrets) == list((await webhooks.get("acme", webhook_id)).secrets)


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_key_rotates_once_even_at_the_same_time(webhooks: Webhooks, is_own: bool) -> None:
    webhook_id = await new(webhooks) if is_own else ""
    rotate = partial(webhooks.rotate_secret, "acme", webhook_id, idempotency_key="key", grace_seconds=60)
    rotated = await asyncio.gather(*(rotate() for _ in range(4)))
    assert sorted(each.replayed for each in rotated) == [False, True, True, True]
    assert len({(each.secret.key, each.old_expires_at) for each in rotated}) == 1
    changed = webhooks.rotate_secret("acme", webhook_id, idempotency_key="key", grace_seconds=61)
    assert (await refused(changed)).reason == "IDEMPOTENCY_KEY_REUSED"
    wrong = webhooks.rotate_secret("acme", webhook_id, idempotency_key="", grace_seconds=604_801)
    assert (await refused(wrong)).reason == "INVALID_INPUT"


async def test_the_signing_secret_is_created_once(webhooks: Webhooks, store: Tables) -> None:
    found = await asyncio.gather(*(webhooks.signing_secret("acme") for _ in range(6)))
    assert len({secrets[0].key for secrets in found}) == 1
    store.fan_out(job_event(callback_url=URL))
    [claim] = store.claim()
    assert [secret.key for secret in claim.secrets] == [found[0][0].key]
    rotated, again = await asyncio.gather(
        webhooks.rotate_secret("other", "", idempotency_key="", grace_seconds=60), webhooks.signing_secret("other")
    )
    [current, *_] = await webhooks.signing_secret("other")
    assert current.key == rotated.secret.key
    assert {secret.key for secret in again} <= {secret.key for secret in await webhooks.signing_secret("other")}


async def test_a_test_sends_one_event_and_changes_nothing(
    webhooks: Webhooks, sender: ScriptedSender, store: Tables
) -> None:
    webhook_id = await new(webhooks)
    before = await webhooks.get("acme", webhook_id)
    sender.outcomes[URL] = deque([FAILURE])
    delivery_id, attempt = await webhooks.test("acme", webhook_id)
    [sent] = sender.sent
    assert (sent.delivery_id, sent.event_type, attempt.outcome) == (delivery_id, TEST, FAILURE)
    assert (await webhooks.get("acme", webhook_id), store.states()) == (before, {})
    sender.held[URL] = asyncio.Event()
    first = asyncio.create_task(webhooks.test("acme", webhook_id))
    await sender.begun.get()
    await asyncio.wait_for(sender.begun.get(), PATIENCE)
    assert (await refused(webhooks.test("acme", webhook_id))).reason == "QUOTA_EXCEEDED"
    sender.held[URL].set()
    await first


async def test_a_deleted_endpoint_is_gone_with_its_secrets_at_once(
    webhooks: Webhooks, store: Tables, housekeeping: Housekeeping
) -> None:
    webhook_id, other = await new(webhooks), await new(webhooks)
    store.fan_out(*(job_event(f"job_{number}") for number in range(3)))
    delivery_id = prefixed("msg", store.delivery_id("job_0", 1, (await webhooks.get("acme", webhook_id)).endpoint))
    for _ in range(2):
        await webhooks.delete("acme", webhook_id)
    assert (await refused(webhooks.get("acme", webhook_id))).reason == "NOT_FOUND"
    for call in (webhooks.get_delivery("acme", delivery_id), webhooks.redeliver("acme", delivery_id)):
        assert (await refused(call)).reason == "NOT_FOUND"
    assert [row.n for row in store.sql("SELECT count(*) AS n FROM webhook_secrets")] == [1]
    assert len(store.claim()) == 2
    await housekeeping.run_once()
    [left] = store.sql(
        "SELECT count(*) AS deliveries, count(DISTINCT endpoint_id) AS endpoints FROM webhook_deliveries"
    )
    assert (left.deliveries, left.endpoints) == (3, 1)
    await webhooks.delete("acme", webhook_id)
    assert [written(each.endpoint) for each in (await webhooks.list("acme", page_size=0, page_token=""))[0]] == [other]


async def test_nothing_of_a_deleted_tenant_is_left(
    webhooks: Webhooks, store: Tables, housekeeping: Housekeeping
) -> None:
    for tenant in ("acme", "other"):
        await new(webhooks, tenant=tenant, idempotency_key="key")
        store.fan_out(job_event(tenant=tenant, callback_url=URL))
    store.record(next(claim for claim in store.claim() if claim.delivery.tenant == "acme"))
    store.sql(
        """INSERT INTO webhook_notices (id, tenant, endpoint_id, type, data)
        SELECT gen_random_uuid(), tenant, id, 'webhook.degraded', '{}' FROM webhook_endpoints WHERE kind = 'endpoint'"""
    )
    store.sql(
        """INSERT INTO webhook_redeliveries (id, endpoint_id, created_after, created_before)
        SELECT gen_random_uuid(), id, now(), now() FROM webhook_endpoints WHERE kind = 'endpoint' AND tenant = 'acme'"""
    )
    assert await webhooks.delete_tenant("acme") == 1
    assert await webhooks.delete_tenant("acme") == 0
    assert await webhooks.list("acme", page_size=0, page_token="") == ([], "")
    assert await webhooks.list_deliveries(DeliveryFilters(tenant="acme"), page_size=0, page_token="") == ([], "")
    await housekeeping.run_once()
    tables = (
        "webhook_endpoints", "webhook_secrets", "webhook_deliveries", "webhook_requests", "webhook_notices",
    )  # fmt: skip
    assert store.sql("SELECT 1 FROM webhook_redeliveries") == []
    for table in tables:
        assert {row.tenant for row in store.sql(f"SELECT tenant FROM {table}")} == {"other"}
    assert (await webhooks.create(NewWebhook(tenant="acme", url=URL, idempotency_key="key"))).replayed is False


async def test_rows_are_kept_for_thirty_days(webhooks: Webhooks, store: Tables, housekeeping: Housekeeping) -> None:
    await new(webhooks, idempotency_key="key")
    disabled = await new(webhooks)
    await webhooks.update("acme", disabled, EndpointChange(enabled=False))
    store.fan_out(job_event(callback_url=URL))
    store.deliver()
    store.fan_out(job_event("job_2"))
    store.pass_time(days=29)
    assert sum((await housekeeping.forget()).values()) == 0
    store.pass_time(days=2)
    assert await housekeeping.forget() == {"deliveries": 4, "requests": 1, "secrets": 0, "origins": 1}
    assert store.states() == {("job_2", 1): PENDING}
    await housekeeping.run_once()
    assert len(store.sql("SELECT 1 FROM webhook_endpoints")) == 2


async def test_a_used_origin_stays(store: Tables, housekeeping: Housekeeping) -> None:
    store.fan_out(job_event(callback_url=URL))
    store.deliver()
    store.pass_time(days=29)
    store.fan_out(job_event("job_2", callback_url=URL))
    store.deliver()
    store.pass_time(days=2)
    await housekeeping.forget()
    assert store.run(partial(retention.delete_batch, limit=500)) == 0
    assert store.states() == {("job_2", 1): DELIVERED}


async def test_a_dead_callback_url_fails_after_five_days_and_the_next_event_of_its_job_follows(
    store: Tables, housekeeping: Housekeeping
) -> None:
    store.fan_out(*(job_event(f"job_{n}", 3, CANCELED, callback_url=f"{URL}{n}") for n in range(7)))
    while (claimed := store.claim(1)) and claimed[0].delivery.attempt_count == 0:
        store.record(claimed[0], FAILURE)
    store.pass_time(days=4)
    store.fan_out(job_event("job_6", 4, SETTLED, callback_url=f"{URL}6"))
    await housekeeping.run_once()
    assert DeliveryState.FAILED not in store.states().values()
    store.pass_time(days=1)
    assert (await housekeeping.run_once())["failed"] == 7
    assert store.states()["job_6", 4] is PENDING
    assert store.run(partial(attempts.abandon_expired, limit=10)) == 0


async def test_unhealthy_endpoints_of_all_tenants_are_listed_and_no_others(
    webhooks: Webhooks, store: Tables, database: Database
) -> None:
    broken, gone, deleted = (store.endpoint(tenant=tenant, url=URL) for tenant in ("acme", "other", "third"))
    for number in range(3):
        store.endpoint(tenant=f"healthy{number}", url=URL)
    store.sql("UPDATE webhook_endpoints SET openings = 1 WHERE id = ANY(:ids)", ids=[broken.id, deleted.id])
    store.change(gone, enabled=False)
    await webhooks.delete("third", written(deleted))
    found, has_more = await webhooks.list_unhealthy()

    assert [(endpoint.tenant, endpoint.id) for endpoint in found] == [("acme", broken.id), ("other", gone.id)]
    assert not has_more


def test_unhealthy_endpoints_are_read_by_their_index(store: Tables) -> None:
    store.endpoint(url=URL)

    def explained(connection: Connection) -> list[str]:
        connection.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off"))
        return list(connection.execute(text(f"EXPLAIN {endpoints.UNHEALTHY}"), {"limit": 101}).scalars())

    plan = " ".join(store.run(explained))
    assert "Index Scan Backward using webhook_endpoints_unhealthy" in plan
    assert "Sort" not in plan
