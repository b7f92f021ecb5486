"""Use cases of tenants and operators; each is one transaction, unless it says otherwise."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from calotype.error_reasons import Reason

from common.ids import new_uuid7, prefixed
from common.postgres import Database
from common.sql import Connection
from common.telemetry import registry
from common.tracing import Attributes, fail, span, traceparent
from services.notifier.application import (
    payloads,
    redelivery,
    signing,
    webhook_changes,
    webhook_creation,
    webhook_requests,
)
from services.notifier.application.redelivery import DeliveryFilters
from services.notifier.application.signing import RotatedSecret, Rotation
from services.notifier.application.webhook_requests import CreatedWebhook, EndpointChange, NewWebhook, Webhook
from services.notifier.domain.attempts import DeliveryAttempt
from services.notifier.domain.deliveries import Delivery
from services.notifier.domain.endpoints import Endpoint, Secret
from services.notifier.domain.events import TEST
from services.notifier.domain.refusals import Refusal
from services.notifier.domain.urls import IsAllowedLiteral
from services.notifier.ports import Sender
from services.notifier.store import endpoints, holding, rows
from services.notifier.store.pools import Pool

T = TypeVar("T")
#: Deliveries of one transaction.
BATCH = 500
#: Tests of this process at a time; one per tenant.
MAX_TESTS = 16
#: Unhealthy endpoints that are listed.
MAX_UNHEALTHY = 100


class Webhooks:
    """The use cases; ids are the written ones. Every method raises `Refusal`, and `DatabaseUnavailable`.

    `per_tenant` is the number of endpoints that a tenant may have. `changed` is called after changes that loops of this
    process act on.
    """

    def __init__(
        self,
        database: Database,
        sender: Sender,
        *,
        per_tenant: int,
        is_allowed_literal: IsAllowedLiteral,
        new_key: Callable[[], bytes],
        changed: Callable[[], object],
    ) -> None:
        self._database = database
        self._sender = sender
        self._per_tenant = per_tenant
        self._is_allowed_literal = is_allowed_literal
        self._new_key = new_key
        self._changed = changed
        self._testing: set[str] = set()

    async def create(self, new: NewWebhook) -> CreatedWebhook:
        """Creates an endpoint with its secret, once per idempotency key."""
        webhook_requests.check(
            url=new.url,
            description=new.description,
            event_types=new.event_types,
            is_allowed_literal=self._is_allowed_literal,
        )
        work = partial(webhook_creation.create, new=new, per_tenant=self._per_tenant, new_key=self._new_key)
        return await self._run(work)

    async def get(self, tenant: str, webhook_id: str) -> Webhook:
        """Returns an endpoint."""
        return await self._run(lambda c: webhook_changes.get(c, tenant, webhook_id))

    async def list(self, tenant: str, *, page_size: int, page_token: str) -> tuple[Sequence[Webhook], str]:
        """Returns a page of endpoints, oldest first, and the token of the next page ("" at the end)."""
        work = partial(webhook_changes.list_page, tenant=tenant, page_size=page_size, page_token=page_token)
        return await self._run(work)

    async def list_unhealthy(self) -> tuple[Sequence[Endpoint], bool]:
        """Returns up to `MAX_UNHEALTHY` endpoints that get few deliveries, of all tenants; whether there are more."""
        found = await self._database.run(lambda c: endpoints.unhealthy(c, limit=MAX_UNHEALTHY + 1), pool=Pool.LISTS)
        return found[:MAX_UNHEALTHY], len(found) > MAX_UNHEALTHY

    async def update(self, tenant: str, webhook_id: str, change: EndpointChange) -> Webhook:
        """Changes an endpoint. Before it enables one, all its deliveries are held, in transactions of their own."""
        webhook_requests.check(
            url=change.url,
            description=change.description,
            event_types=change.event_types,
            is_allowed_literal=self._is_allowed_literal,
        )
        if change.enabled:
            endpoint = (await self.get(tenant, webhook_id)).endpoint
            while await self._run(lambda c: holding.hold(c, limit=BATCH, endpoint_id=endpoint.id)):
                pass
        return await self._change(lambda c: webhook_changes.update(c, tenant, webhook_id, change))

    async def delete(self, tenant: str, webhook_id: str) -> None:
        """Deletes an endpoint; succeeds if it is already deleted."""
        await self._change(lambda c: webhook_changes.delete(c, tenant, webhook_id))

    async def rotate_secret(
        self, tenant: str, webhook_id: str, *, idempotency_key: str, grace_seconds: int | None
    ) -> RotatedSecret:
        """Creates a new secret of an endpoint, or of the tenant for "", once per idempotency key."""
        rotation = Rotation(
            tenant=tenant, webhook_id=webhook_id, idempotency_key=idempotency_key, grace_seconds=grace_seconds
        )
        return await self._run(lambda c: signing.rotate(c, rotation, new_key=self._new_key))

    async def signing_secret(self, tenant: str) -> Sequence[Secret]:
        """Returns the secrets that sign deliveries to callback URLs, newest first: the first is the current one."""
        return await self._run(lambda c: signing.signing_secrets(c, tenant, new_key=self._new_key))

    async def test(self, tenant: str, webhook_id: str) -> tuple[UUID, DeliveryAttempt]:
        """Sends one event at once, outside of a transaction; returns its id and the attempt, which is not recorded."""
        webhook, now = await self._run(lambda c: (webhook_changes.get(c, tenant, webhook_id), rows.now(c)))
        if tenant in self._testing or len(self._testing) >= MAX_TESTS:
            raise Refusal(Reason.QUOTA_EXCEEDED, "Another test is under way.", retry_after_seconds=5.0)
        self._testing.add(tenant)
        try:
            return await self._send_test(webhook.endpoint, webhook.secrets, now)
        finally:
            self._testing.discard(tenant)

    async def _send_test(
        self, endpoint: Endpoint, secrets: Sequence[Secret], now: datetime
    ) -> tuple[UUID, DeliveryAttempt]:
        delivery_id = new_uuid7()
        attributes: Attributes = {registry.WEBHOOK_ID: prefixed("msg", delivery_id), registry.WEBHOOK_EVENT: TEST}
        with span(registry.TEST_WEBHOOK, attributes):
            outcome = await self._sender.send(
                endpoint.url,
                delivery_id=delivery_id,
                event_type=TEST,
                body=payloads.body(TEST, now, payloads.test_data(endpoint)),
                secrets=secrets,
                scheme=endpoint.scheme,
                traceparent=traceparent(),
            )
            if outcome.error is not None:
                fail(outcome.error)
        return delivery_id, DeliveryAttempt(number=1, started_at=now, is_probe=False, outcome=outcome)

    async def list_deliveries(
        self, filters: DeliveryFilters, *, page_size: int, page_token: str
    ) -> tuple[Sequence[Delivery], str]:
        """Returns a page of deliveries, newest first, and the token of the next page ("" at the end)."""
        work = partial(redelivery.list_page, filters=filters, page_size=page_size, page_token=page_token)
        return await self._database.run(work, pool=Pool.LISTS)

    async def get_delivery(self, tenant: str, delivery_id: str) -> tuple[Delivery, Sequence[DeliveryAttempt]]:
        """Returns a delivery with its last attempts, oldest first."""
        return await self._run(lambda c: redelivery.get(c, tenant, delivery_id))

    async def redeliver(self, tenant: str, delivery_id: str) -> Delivery:
        """Makes a delivery due now."""
        return await self._change(lambda c: redelivery.redeliver(c, tenant, delivery_id))

    async def redeliver_range(
        self, tenant: str, webhook_id: str, *, after: datetime | None, before: datetime | None
    ) -> int:
        """Has held and failed deliveries of a time range delivered again; returns their number."""
        work = partial(redelivery.redeliver_range, tenant=tenant, webhook_id=webhook_id, after=after, before=before)
        return await self._change(work)

    async def delete_tenant(self, tenant: str) -> int:
        """Deletes everything of a tenant; returns the number of its endpoints."""
        return await self._change(lambda c: webhook_changes.delete_tenant(c, tenant))

    async def _run(self, work: Callable[[Connection], T]) -> T:
        return await self._database.run(work, pool=Pool.CALLS)

    async def _change(self, work: Callable[[Connection], T]) -> T:
        result = await self._run(work)
        self._changed()
        return result
