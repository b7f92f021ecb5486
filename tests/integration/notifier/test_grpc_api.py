"""The notifier's gRPC API, as the gateway has it: real tables, a scripted receiver."""

import base64
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from calotype.notifier.v1 import webhook_service_pb2 as pb
from calotype.notifier.v1 import webhook_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from common.errors import ServiceError
from common.grpc_client import ClientSettings, call, channel
from common.grpc_server import serve
from common.health import Readiness
from common.ids import prefixed
from common.network.guarded_connect import AddressPolicy
from common.postgres import Database
from services.notifier.adapters.signatures import new_key, written_public_key
from services.notifier.application.webhooks import Webhooks
from services.notifier.domain.attempts import MAX_RESPONSE, AttemptError, AttemptOutcome
from services.notifier.grpc_api.webhook_service import WebhookService
from services.notifier.store.pools import CONNECTIONS, POOLS
from tests.support.notifier.scripted_store import FAILURE, GONE, ScriptedSender, Tables, job_event
from tests.support.patience import PATIENCE
from tests.support.security.identities import entry, security_for, write

URL = "https://receiver.example/hooks"
PER_TENANT = 3
#: An id of a right form that nothing has.
NO_ID = "0" * 32
INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@dataclass(frozen=True)
class Api:
    """WebhookService as a client has it."""

    stub: Any
    sender: ScriptedSender
    changes: list[str]

    async def ask(self, method: str, **fields: Any) -> Any:
        """Call a method for the tenant `acme`, or for the one that is named."""
        request = getattr(pb, f"{method}Request")(**({"tenant": "acme"} | fields))
        return await call(getattr(self.stub, method), request, timeout=PATIENCE)

    async def refusal(self, method: str, **fields: Any) -> ServiceError:
        """The error of a call."""
        with pytest.raises(ServiceError) as refused:
            await self.ask(method, **fields)
        return refused.value

    async def create(self, url: str = URL, **fields: Any) -> pb.CreateWebhookResponse:
        """A new endpoint."""
        created: pb.CreateWebhookResponse = await self.ask("CreateWebhook", url=url, **fields)
        return created

    async def get(self, webhook_id: str) -> pb.Webhook:
        """An endpoint as it is now."""
        found: pb.Webhook = (await self.ask("GetWebhook", webhook_id=webhook_id)).webhook
        return found


def database_at(url: str) -> Database:
    """The database, patient on a busy machine."""
    milliseconds = int(PATIENCE * 1_000)
    return Database(
        url,
        application="test",
        pool_size=CONNECTIONS,
        pools=POOLS,
        statement_timeout_ms=milliseconds,
        lock_timeout_ms=milliseconds,
        queue_timeout_seconds=PATIENCE,
    )


async def api_at(url: str, folder: Path) -> AsyncIterator[Api]:
    """WebhookService on a database, for the identity `gateway`."""
    security = security_for(write(folder / "identities.yaml", entry("gateway", "client", "operator", tenants="*")))
    database, sender, changes = database_at(url), ScriptedSender(), list[str]()
    webhooks = Webhooks(
        database,
        sender,
        per_tenant=PER_TENANT,
        is_allowed_literal=AddressPolicy().allows_literal,
        new_key=new_key,
        changed=lambda: changes.append("changed"),
    )
    served = [WebhookService(webhooks).grpc_service()]
    async with (
        serve("127.0.0.1:0", served, ready=Readiness(), security=security) as port,
        channel(f"127.0.0.1:{port}", settings=ClientSettings(grpc_token="gateway")) as opened,
    ):
        yield Api(webhook_service_pb2_grpc.WebhookServiceStub(opened), sender, changes)
    await database.close()


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """WebhookService on the module's database."""
    async for api in api_at(database_url, tmp_path):
        yield api


def seconds(moment: Timestamp) -> float:
    """A timestamp as a number."""
    return moment.ToNanoseconds() / 1e9


async def test_a_new_endpoint_is_returned_with_its_secret_and_later_without(api: Api) -> None:
    created = await api.create(description="orders", event_types=["job.failed", "webhook.disabled"])
    found = await api.get(created.webhook.id)
    kind, _, digits = found.id.partition("_")

    assert (kind, len(digits), created.replayed) == ("wh", 32, False)
    assert len(base64.b64decode(created.secret.removeprefix("whsec_"), validate=True)) == 32
    assert (found.tenant, found.url, found.description) == ("acme", URL, "orders")
    assert list(found.event_types) == ["job.failed", "webhook.disabled"]
    assert (found.signature_scheme, list(found.public_keys)) == (pb.SIGNATURE_SCHEME_V1, [])
    assert (found.enabled, found.health.state) == (True, pb.WEBHOOK_STATE_HEALTHY)
    assert [secret.HasField("expires_at") for secret in found.secrets] == [False]
    assert seconds(found.created_at) == pytest.approx(datetime.now(UTC).timestamp(), abs=PATIENCE)
    assert found == created.webhook
    assert created.secret not in str(found)


async def test_an_endpoint_with_ed25519_shows_its_public_key_and_no_secret(api: Api, store: Tables) -> None:
    created = await api.create(signature_scheme=pb.SIGNATURE_SCHEME_V1A)
    [row] = store.sql("SELECT key FROM webhook_secrets")

    assert created.secret == ""
    assert list(created.webhook.public_keys) == [written_public_key(bytes(row.key))]
    assert created.webhook.signature_scheme == pb.SIGNATURE_SCHEME_V1A


async def test_an_idempotency_key_creates_one_endpoint(api: Api) -> None:
    first = await api.create(idempotency_key="k", description="a")
    again = await api.create(idempotency_key="k", description="a")
    other = await api.refusal("CreateWebhook", url=URL, idempotency_key="k", description="b")
    elsewhere = await api.create(tenant="rival", idempotency_key="k", description="b")

    assert (again.webhook.id, again.secret, again.replayed) == (first.webhook.id, first.secret, True)
    assert (other.status, other.reason) == (INVALID, "IDEMPOTENCY_KEY_REUSED")
    assert (elsewhere.replayed, elsewhere.webhook.id == first.webhook.id) == (False, False)


async def test_a_tenant_has_so_many_endpoints_and_no_more(api: Api) -> None:
    created = [await api.create() for _ in range(PER_TENANT)]
    refused = await api.refusal("CreateWebhook", url=URL)
    await api.create(tenant="rival")
    await api.ask("DeleteWebhook", webhook_id=created[0].webhook.id)
    await api.create()

    assert (refused.status, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("GetWebhook", {}),
        ("UpdateWebhook", {"enabled": False}),
        ("RotateSecret", {}),
        ("TestWebhook", {}),
        ("ListDeliveries", {}),
        ("RedeliverRange", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_endpoint_of_another_tenant_is_not_found_and_that_is_recorded(
    api: Api, caplog: pytest.LogCaptureFixture, method: str, fields: dict[str, Any]
) -> None:
    caplog.set_level(logging.INFO)
    created = (await api.create()).webhook
    before = await api.get(created.id)
    refused = {
        tenant: await api.refusal(method, tenant=tenant, webhook_id=webhook_id, **fields)
        for tenant, webhook_id in (("rival", created.id), ("acme", prefixed_none("wh")))
    }
    recorded = [vars(record) for record in caplog.records if record.getMessage() == "audit.access.refused"]

    assert {(error.status, error.reason) for error in refused.values()} == {(MISSING, "NOT_FOUND")}
    assert refused["rival"].message == refused["acme"].message.replace(prefixed_none("wh"), created.id)
    assert [(line["tenant"], line["object"], line["outcome"]) for line in recorded] == [
        ("rival", created.id, "NOT_FOUND")
    ]
    assert await api.get(created.id) == before
    assert api.sender.sent == []


def prefixed_none(prefix: str) -> str:
    """An id that nothing has."""
    return f"{prefix}_{NO_ID}"


async def test_a_delivery_of_another_tenant_is_not_found(api: Api, store: Tables) -> None:
    await api.create()
    store.fan_out(job_event())
    delivery_id = prefixed("msg", store.delivery_id())
    for method in ("GetDelivery", "Redeliver"):
        for tenant, wanted in (("rival", delivery_id), ("acme", prefixed_none("msg"))):
            refused = await api.refusal(method, tenant=tenant, delivery_id=wanted)
            assert (refused.status, refused.reason) == (MISSING, "NOT_FOUND")


async def test_another_tenants_endpoint_is_not_deleted_and_a_deleted_one_is_deleted_again(api: Api) -> None:
    created = (await api.create()).webhook
    for tenant, webhook_id in (("rival", created.id), ("acme", prefixed_none("wh"))):
        await api.ask("DeleteWebhook", tenant=tenant, webhook_id=webhook_id)
    still_there = await api.get(created.id)
    for _ in range(2):
        await api.ask("DeleteWebhook", webhook_id=created.id)

    assert still_there == created
    assert (await api.refusal("GetWebhook", webhook_id=created.id)).reason == "NOT_FOUND"
    assert api.changes


OUT_OF_BOUNDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no url": ("CreateWebhook", {}, "url"),
    "a url of another scheme": ("CreateWebhook", {"url": "ftp://a.example/"}, "url"),
    "a url with credentials": ("CreateWebhook", {"url": "https://a:b@c.example/"}, "url"),
    "a url of 2,049 characters": ("CreateWebhook", {"url": URL + "a" * (2_049 - len(URL))}, "url"),
    "a url with a line end": ("CreateWebhook", {"url": f"{URL}\r\nX: y"}, "url"),
    "a url with a NUL": ("CreateWebhook", {"url": f"{URL}\0"}, "url"),
    "a private address": ("CreateWebhook", {"url": "http://10.0.0.1/"}, "url"),
    "an address in an old notation": ("CreateWebhook", {"url": "http://0x7f.1/"}, "url"),
    "a metadata address": ("CreateWebhook", {"url": "http://169.254.169.254/latest"}, "url"),
    "a port that is not allowed": ("CreateWebhook", {"url": "https://a.example:22/"}, "url"),
    "a description of 201 characters": ("CreateWebhook", {"url": URL, "description": "ä" * 201}, "description"),
    "a description with a NUL": ("CreateWebhook", {"url": URL, "description": "a\0"}, "description"),
    "an event type that there is not": ("CreateWebhook", {"url": URL, "event_types": ["job.moved"]}, "event_types.0"),
    "an event type of tests": ("CreateWebhook", {"url": URL, "event_types": ["webhook.test"]}, "event_types.0"),
    "too many event types": ("CreateWebhook", {"url": URL, "event_types": ["job.failed"] * 8}, "event_types"),
    "a scheme that there is not": ("CreateWebhook", {"url": URL, "signature_scheme": 99}, "signature_scheme"),
    "a key of 256 characters": ("CreateWebhook", {"url": URL, "idempotency_key": "k" * 256}, "idempotency_key"),
    "a key with a space": ("RotateSecret", {"idempotency_key": "a b"}, "idempotency_key"),
    "no tenant": ("GetSigningSecret", {"tenant": ""}, "tenant"),
    "a tenant with a dot": ("ListWebhooks", {"tenant": "a.b"}, "tenant"),
    "a tenant of 65 characters": ("DeleteTenant", {"tenant": "a" * 65}, "tenant"),
    "a negative page": ("ListWebhooks", {"page_size": -1}, "page_size"),
    "a page of nobody's token": ("ListWebhooks", {"page_token": "x"}, "page_token"),
    "a negative page of deliveries": ("ListDeliveries", {"page_size": -1}, "page_size"),
    "a token of another list": ("ListDeliveries", {"page_token": "AAAA"}, "page_token"),
    "a state that there is not": ("ListDeliveries", {"state": 99}, "state"),
    "a type of deliveries that there is not": ("ListDeliveries", {"event_type": "job.moved"}, "event_type"),
    "a job with an event type": ("ListDeliveries", {"job_id": "job_1", "event_type": "job.failed"}, "job_id"),
    "a grace below zero": ("RotateSecret", {"grace_seconds": -1}, "grace_seconds"),
    "a grace of more than a week": ("RotateSecret", {"grace_seconds": 604_801}, "grace_seconds"),
}


@pytest.mark.parametrize(("method", "fields", "field"), OUT_OF_BOUNDS.values(), ids=OUT_OF_BOUNDS)
async def test_what_is_out_of_bounds_is_refused_by_its_field(
    api: Api, store: Tables, method: str, fields: dict[str, Any], field: str
) -> None:
    refused = await api.refusal(method, **fields)

    assert (refused.status, refused.reason) == (INVALID, "INVALID_INPUT")
    assert [violation.field for violation in refused.field_violations] == [field]
    assert store.sql("SELECT 1 FROM webhook_endpoints") == []


async def test_what_is_at_its_bound_is_accepted(api: Api) -> None:
    created = await api.create(
        URL + "a" * (2_048 - len(URL)), description="ä" * 200, idempotency_key="k" * 255, tenant="a" * 64
    )
    await api.ask("RotateSecret", tenant="a" * 64, webhook_id=created.webhook.id, grace_seconds=604_800)


@pytest.mark.parametrize(
    "webhook_id", ["", "x", "wh_", "wh_" + "g" * 32, "msg_" + NO_ID, "wh_" + NO_ID + "\0", "ä" * 5000]
)
async def test_an_id_of_a_wrong_form_is_not_found(api: Api, webhook_id: str) -> None:
    assert (await api.refusal("GetWebhook", webhook_id=webhook_id)).status is MISSING
    assert (await api.refusal("GetDelivery", delivery_id=webhook_id)).status is MISSING


@pytest.mark.parametrize("far", [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-5)])
async def test_a_range_is_of_times_that_there_are(api: Api, far: Timestamp) -> None:
    created = (await api.create()).webhook
    for field in ("after", "before"):
        refused = await api.refusal("RedeliverRange", webhook_id=created.id, **{field: far})
        assert (refused.status, refused.reason) == (INVALID, "INVALID_INPUT")


async def test_an_update_changes_what_it_names_and_nothing_else(api: Api) -> None:
    created = (await api.create(description="a", event_types=["job.failed"])).webhook
    renamed = (await api.ask("UpdateWebhook", webhook_id=created.id, description="")).webhook
    all_types = (await api.ask("UpdateWebhook", webhook_id=created.id, event_types=pb.EventTypes())).webhook
    moved = (await api.ask("UpdateWebhook", webhook_id=created.id, url=f"{URL}/2")).webhook
    refused = await api.refusal("UpdateWebhook", webhook_id=created.id, url="http://127.0.0.1/")

    assert (renamed.description, renamed.url, list(renamed.event_types)) == ("", URL, ["job.failed"])
    assert (list(all_types.event_types), all_types.url) == ([], URL)
    assert (moved.url, moved.description, moved.created_at) == (f"{URL}/2", "", created.created_at)
    assert seconds(moved.updated_at) > seconds(created.updated_at)
    assert [violation.field for violation in refused.field_violations] == ["url"]
    assert await api.get(created.id) == moved


async def test_a_tenant_disables_and_enables_its_endpoint(api: Api, store: Tables) -> None:
    created = (await api.create()).webhook
    disabled = (await api.ask("UpdateWebhook", webhook_id=created.id, enabled=False)).webhook
    store.fan_out(job_event())
    delivery_id = prefixed("msg", store.delivery_id())
    held = (await api.ask("GetDelivery", delivery_id=delivery_id)).delivery
    too_early = await api.refusal("Redeliver", delivery_id=delivery_id)
    enabled = (await api.ask("UpdateWebhook", webhook_id=created.id, enabled=True)).webhook
    due = (await api.ask("Redeliver", delivery_id=delivery_id)).delivery

    assert (disabled.enabled, disabled.health.state) == (False, pb.WEBHOOK_STATE_DISABLED)
    assert disabled.health.disabled_reason == pb.DISABLED_REASON_BY_TENANT
    assert (held.state, held.HasField("next_attempt_at")) == (pb.DELIVERY_STATE_HELD, False)
    assert (too_early.status, too_early.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert (enabled.enabled, enabled.health) == (True, pb.WebhookHealth(state=pb.WEBHOOK_STATE_HEALTHY))
    assert (due.state, due.HasField("next_attempt_at")) == (pb.DELIVERY_STATE_PENDING, True)


async def test_the_health_of_an_endpoint_says_what_failed_and_what_will_be(api: Api, store: Tables) -> None:
    created = (await api.create()).webhook
    store.fan_out(*(job_event(f"job_{number}") for number in range(5)))
    states = []
    while len(states) < 5:
        for claim in store.claim():
            store.record(claim, FAILURE)
            states.append((await api.get(created.id)).health)

    assert [health.state for health in states] == [*[pb.WEBHOOK_STATE_FAILING] * 4, pb.WEBHOOK_STATE_DEGRADED]
    last = states[-1]
    assert (last.last_error, last.last_status) == (pb.ATTEMPT_ERROR_STATUS, 500)
    assert seconds(last.will_disable_at) - seconds(last.failing_since) == timedelta(days=5).total_seconds()
    assert seconds(last.next_attempt_at) > seconds(last.failing_since)
    assert not states[0].HasField("next_attempt_at")
    assert not last.HasField("disabled_at")


async def test_a_receiver_that_is_gone_disables_its_endpoint(api: Api, store: Tables) -> None:
    created = (await api.create()).webhook
    store.fan_out(job_event())
    store.deliver(GONE)
    health = (await api.get(created.id)).health

    assert (health.state, health.disabled_reason) == (pb.WEBHOOK_STATE_DISABLED, pb.DISABLED_REASON_GONE)
    assert health.HasField("disabled_at")
    assert not health.HasField("will_disable_at")
    assert not health.HasField("next_attempt_at")


async def test_endpoints_are_listed_in_pages_oldest_first(api: Api) -> None:
    created = [(await api.create()).webhook.id for _ in range(PER_TENANT)]
    await api.create(tenant="rival")
    first = await api.ask("ListWebhooks", page_size=2)
    rest = await api.ask("ListWebhooks", page_size=2, page_token=first.next_page_token)
    foreign = await api.refusal("ListWebhooks", tenant="rival", page_token=first.next_page_token)

    assert [webhook.id for page in (first, rest) for webhook in page.webhooks] == created
    assert rest.next_page_token == ""
    assert foreign.reason == "INVALID_INPUT"


async def test_a_rotated_secret_signs_beside_the_old_one_until_that_ends(api: Api) -> None:
    created = await api.create()
    rotated = await api.ask("RotateSecret", webhook_id=created.webhook.id, grace_seconds=60, idempotency_key="k")
    again = await api.ask("RotateSecret", webhook_id=created.webhook.id, grace_seconds=60, idempotency_key="k")
    two = (await api.get(created.webhook.id)).secrets
    await api.ask("RotateSecret", webhook_id=created.webhook.id, grace_seconds=0)
    after = (await api.get(created.webhook.id)).secrets

    assert rotated.secret.startswith("whsec_")
    assert rotated.secret != created.secret
    assert (again.secret, again.replayed) == (rotated.secret, True)
    assert [secret.HasField("expires_at") for secret in two] == [False, True]
    assert seconds(rotated.old_expires_at) - seconds(two[0].created_at) == pytest.approx(60, abs=1)
    assert two[1].expires_at == rotated.old_expires_at
    # The first one ends when it was to end, the second one now.
    assert [secret.HasField("expires_at") for secret in after][:1] == [False]


async def test_a_rotated_key_of_ed25519_is_shown_as_its_public_key(api: Api) -> None:
    created = (await api.create(signature_scheme=pb.SIGNATURE_SCHEME_V1A)).webhook
    rotated = await api.ask("RotateSecret", webhook_id=created.id)

    assert (rotated.secret, rotated.public_key[:5]) == ("", "whpk_")
    assert list((await api.get(created.id)).public_keys) == [rotated.public_key, *created.public_keys]


async def test_a_tenant_has_one_signing_secret_for_callback_urls(api: Api) -> None:
    first, second = [await api.ask("GetSigningSecret") for _ in range(2)]
    rival = await api.ask("GetSigningSecret", tenant="rival")
    rotated = await api.ask("RotateSecret")
    after = await api.ask("GetSigningSecret")

    assert first.secret == second.secret != rival.secret
    assert (after.secret, len(after.secrets)) == (rotated.secret, 2)
    assert rotated.old_expires_at == after.secrets[1].expires_at


async def test_a_test_sends_one_event_at_once_and_returns_what_came_of_it(api: Api) -> None:
    created = (await api.create()).webhook
    sent = await api.ask("TestWebhook", webhook_id=created.id)
    api.sender.outcomes[URL] = deque(
        [
            AttemptOutcome(
                duration_ms=7,
                status=503,
                error=AttemptError.STATUS,
                message="The receiver returned status 503.",
                response="x" * MAX_RESPONSE,
            )
        ]
    )
    failed = (await api.ask("TestWebhook", webhook_id=created.id)).attempt
    [first, _] = api.sender.sent

    assert (first.event_type, first.url, len(first.keys)) == ("webhook.test", URL, 1)
    assert (sent.delivery_id, sent.attempt.status) == (prefixed("msg", first.delivery_id), 204)
    assert (failed.error, failed.status, failed.duration_ms) == (pb.ATTEMPT_ERROR_STATUS, 503, 7)
    assert (failed.message, len(failed.response)) == ("The receiver returned status 503.", MAX_RESPONSE)
    assert (await api.get(created.id)).health.state == pb.WEBHOOK_STATE_HEALTHY


async def test_deliveries_are_listed_newest_first_by_state_and_type(api: Api, store: Tables) -> None:
    created = (await api.create()).webhook
    store.fan_out(job_event("job_1"), job_event("job_2", type_="job.failed"), job_event("job_3"))
    store.record(store.claim(1)[0])

    async def listed(**filters: Any) -> list[str]:
        page = await api.ask("ListDeliveries", webhook_id=created.id, **filters)
        return [delivery.job_id for delivery in page.deliveries]

    first = await api.ask("ListDeliveries", webhook_id=created.id, page_size=2)
    rest = await api.ask("ListDeliveries", webhook_id=created.id, page_size=2, page_token=first.next_page_token)
    assert [one.job_id for page in (first, rest) for one in page.deliveries] == ["job_3", "job_2", "job_1"]
    assert rest.next_page_token == ""
    assert await listed(state=pb.DELIVERY_STATE_DELIVERED) == ["job_1"]
    assert await listed(state=pb.DELIVERY_STATE_PENDING, event_type="job.failed") == ["job_2"]
    assert await listed(event_type="job.canceled") == []


async def test_a_delivery_tells_of_its_event_and_of_its_attempts(api: Api, store: Tables) -> None:
    created = (await api.create()).webhook
    store.fan_out(job_event(sequence=7))
    delivery_id = prefixed("msg", store.delivery_id(sequence=7))
    store.record(store.claim()[0], FAILURE)
    pending = await api.ask("GetDelivery", delivery_id=delivery_id)
    at_once = await api.refusal("Redeliver", delivery_id=delivery_id)
    store.pass_time(minutes=1)
    store.deliver()
    delivered = await api.ask("GetDelivery", delivery_id=delivery_id)

    [attempt] = pending.attempts
    assert (attempt.number, attempt.status, attempt.error) == (1, 500, pb.ATTEMPT_ERROR_STATUS)
    assert attempt.message == FAILURE.message
    assert pending.delivery.last_attempt == attempt
    assert (pending.delivery.webhook_id, pending.delivery.url) == (created.id, URL)
    assert (pending.delivery.event_type, pending.delivery.job_id) == ("job.completed", "job_1")
    assert (pending.delivery.sequence, pending.delivery.attempt_count) == (7, 1)
    assert at_once.reason == "WRONG_STATE"
    assert delivered.delivery.state == pb.DELIVERY_STATE_DELIVERED
    assert delivered.delivery.HasField("delivered_at")
    assert not delivered.delivery.HasField("next_attempt_at")
    assert [attempt.number for attempt in delivered.attempts] == [1, 2]
    assert delivered.attempts[-1].error == pb.ATTEMPT_ERROR_UNSPECIFIED


async def test_deliveries_to_callback_urls_are_listed_for_their_tenant(api: Api, store: Tables) -> None:
    await api.create()
    callback = "https://callback.example/done?order=7"
    store.fan_out(job_event(callback_url=callback), job_event("job_2", tenant="rival", callback_url=callback))
    [delivery] = (await api.ask("ListDeliveries")).deliveries

    assert (delivery.webhook_id, delivery.url, delivery.job_id) == ("", callback, "job_1")
    assert [webhook.url for webhook in (await api.ask("ListWebhooks")).webhooks] == [URL]


async def test_the_deliveries_of_a_job_are_listed_of_every_endpoint(api: Api, store: Tables) -> None:
    first, second = (await api.create()).webhook, (await api.create()).webhook
    store.fan_out(job_event(callback_url="https://callback.example/"), job_event("job_2"), job_event(tenant="rival"))
    newest = await api.ask("ListDeliveries", job_id="job_1", page_size=2)
    rest = await api.ask("ListDeliveries", job_id="job_1", page_size=2, page_token=newest.next_page_token)
    found = [*newest.deliveries, *rest.deliveries]

    assert sorted(delivery.webhook_id for delivery in found) == sorted(["", first.id, second.id])
    assert {delivery.job_id for delivery in found} == {"job_1"}
    assert (len(newest.deliveries), rest.next_page_token) == (2, "")


async def test_a_range_of_held_deliveries_is_counted_and_made_due(api: Api, store: Tables) -> None:
    created = (await api.create()).webhook
    await api.ask("UpdateWebhook", webhook_id=created.id, enabled=False)
    store.fan_out(*(job_event(f"job_{number}") for number in range(3)))
    disabled = await api.refusal("RedeliverRange", webhook_id=created.id)
    await api.ask("UpdateWebhook", webhook_id=created.id, enabled=True)
    later = Timestamp(seconds=int(datetime.now(UTC).timestamp()) + 3600)
    none = await api.ask("RedeliverRange", webhook_id=created.id, before=Timestamp(seconds=1))
    api.changes.clear()
    counted = await api.ask("RedeliverRange", webhook_id=created.id, before=later)

    assert (disabled.status, disabled.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert (none.count, counted.count) == (0, 3)
    assert api.changes


async def test_what_belongs_to_a_tenant_is_deleted_with_it(api: Api) -> None:
    created = [(await api.create()).webhook.id for _ in range(2)]
    rival = await api.create(tenant="rival")
    deleted = await api.ask("DeleteTenant")

    assert deleted.webhooks == 2
    assert {(await api.refusal("GetWebhook", webhook_id=one)).status for one in created} == {MISSING}
    assert (await api.ask("GetWebhook", tenant="rival", webhook_id=rival.webhook.id)).webhook == rival.webhook
    assert (await api.ask("DeleteTenant")).webhooks == 0


async def test_each_change_is_a_line_of_the_audit_with_the_endpoint_and_without_its_secret(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    created = await api.create(idempotency_key="k")
    await api.create(idempotency_key="k")
    rotated = await api.ask("RotateSecret", webhook_id=created.webhook.id)
    await api.get(created.webhook.id)
    await api.ask("DeleteWebhook", webhook_id=created.webhook.id)
    signing = await api.ask("GetSigningSecret")
    lines = [vars(record) for record in caplog.records if record.getMessage() == "audit.action.taken"]

    assert [(line["action"].rpartition("/")[2], line["object"], line["outcome"]) for line in lines] == [
        ("CreateWebhook", created.webhook.id, "done"),
        ("CreateWebhook", created.webhook.id, "replayed"),
        ("RotateSecret", created.webhook.id, "done"),
        ("DeleteWebhook", created.webhook.id, "done"),
        ("GetSigningSecret", None, "done"),
    ]
    assert {line["tenant"] for line in lines} == {"acme"}
    assert not [secret for secret in (created.secret, rotated.secret, signing.secret) if secret in caplog.text]


async def test_without_its_database_the_service_is_unavailable(tmp_path: Path) -> None:
    async for api in api_at("postgresql://nobody@127.0.0.1:1/none", tmp_path):
        refused = await api.refusal("ListWebhooks")

        assert (refused.status, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        assert refused.retry_after_seconds == 1
