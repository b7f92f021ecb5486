"""Lists deliveries, and makes them due again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from calotype.error_reasons import Reason

from common.ids import parse
from common.sql import Connection
from services.notifier.application import webhook_changes
from services.notifier.application.page_tokens import PageTokens
from services.notifier.application.payloads import MESSAGE
from services.notifier.domain.attempts import DeliveryAttempt
from services.notifier.domain.deliveries import Delivery, DeliveryState, stored_states
from services.notifier.domain.endpoints import Endpoint
from services.notifier.domain.events import SUBSCRIBABLE
from services.notifier.domain.refusals import Refusal, Violation, delivery_not_found, invalid
from services.notifier.store import endpoints, listing, outcomes, page_token_key, redeliveries, rows
from services.notifier.store.redeliveries import Range

#: Ranges of one endpoint that are worked off at a time.
MAX_RANGES = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class DeliveryFilters:
    """Filters of a list of deliveries."""

    #: Owner.
    tenant: str
    #: Endpoint; "" for callback URLs.
    webhook_id: str = ""
    #: State as it is shown; None for all.
    state: DeliveryState | None = None
    #: Event type; "" for all.
    event_type: str = ""
    #: Job that the deliveries are about, to every endpoint and callback URL; excludes all other filters. "" for all.
    job_id: str = ""


def list_page(
    connection: Connection, filters: DeliveryFilters, *, page_size: int, page_token: str
) -> tuple[list[Delivery], str]:
    """Returns a page of deliveries, newest first, and the token of the next page ("" at the end).

    Raises `Refusal` NOT_FOUND for the endpoint, INVALID_INPUT for invalid filters and for a token of another list.
    """
    size = webhook_changes.page_size_of(page_size)
    if filters.event_type and filters.event_type not in SUBSCRIBABLE:
        raise invalid(Violation(field="event_type", message=f"One of {', '.join(SUBSCRIBABLE)}."))
    if filters.job_id:
        return _page_of_job(connection, filters, size=size, page_token=page_token)
    endpoint = _endpoint(connection, filters)
    is_disabled = endpoint is not None and endpoint.health.disabled_reason is not None
    list_of = ["deliveries", filters.tenant, filters.webhook_id, filters.state, filters.event_type]
    tokens = PageTokens(page_token_key.read(connection), of=json.dumps(list_of))
    found = listing.page(
        connection,
        filters.tenant,
        None if endpoint is None else endpoint.id,
        states=None if filters.state is None else stored_states(filters.state, is_disabled=is_disabled),
        event_type=filters.event_type,
        before=UUID(tokens.open(page_token)[0]) if page_token else None,
        size=size + 1,
    )
    page = found[:size]
    return page, tokens.seal(str(page[-1].id)) if len(found) > size else ""


def _page_of_job(
    connection: Connection, filters: DeliveryFilters, *, size: int, page_token: str
) -> tuple[list[Delivery], str]:
    if filters.webhook_id or filters.state is not None or filters.event_type:
        raise invalid(Violation(field="job_id", message="Excludes webhook_id, state and event_type."))
    list_of = ["deliveries of job", filters.tenant, filters.job_id]
    tokens = PageTokens(page_token_key.read(connection), of=json.dumps(list_of))
    before = UUID(tokens.open(page_token)[0]) if page_token else None
    found = listing.page_of_job(connection, filters.tenant, filters.job_id, before=before, size=size + 1)
    page = found[:size]
    return page, tokens.seal(str(page[-1].id)) if len(found) > size else ""


def _endpoint(connection: Connection, filters: DeliveryFilters) -> Endpoint | None:
    return webhook_changes.find(connection, filters.tenant, filters.webhook_id) if filters.webhook_id else None


def get(connection: Connection, tenant: str, delivery_id: str) -> tuple[Delivery, Sequence[DeliveryAttempt]]:
    """Returns a delivery with its last attempts, oldest first. Raises `Refusal` NOT_FOUND."""
    delivery = _find(connection, tenant, delivery_id)
    return delivery, outcomes.attempts(connection, delivery.id)


def _find(connection: Connection, tenant: str, delivery_id: str) -> Delivery:
    try:
        found = listing.get(connection, parse(MESSAGE, delivery_id))
    except ValueError:
        found = None
    if found is None or found[0] != tenant:
        raise delivery_not_found(delivery_id, hides=found is not None)
    return found[1]


def redeliver(connection: Connection, tenant: str, delivery_id: str) -> Delivery:
    """Makes a delivery due now. Raises `Refusal` NOT_FOUND, and WRONG_STATE while it is pending or disabled."""
    found = _find(connection, tenant, delivery_id)
    owner = listing.endpoint_of(connection, found.id)
    endpoint = None if owner is None else endpoints.get(connection, owner, locked=True)
    if endpoint is None:
        raise delivery_not_found(delivery_id)
    if endpoint.health.disabled_reason is not None:
        raise Refusal(Reason.WRONG_STATE, "The webhook is disabled: enable it first.")
    if not redeliveries.redeliver(connection, [found.id]):
        raise Refusal(Reason.WRONG_STATE, "The delivery is due already, or being sent.")
    return _find(connection, tenant, delivery_id)


def redeliver_range(
    connection: Connection, tenant: str, webhook_id: str, *, after: datetime | None, before: datetime | None
) -> int:
    """Has the held and failed deliveries of a time range delivered again, in batches; returns their number.

    None is no lower bound, or now. Raises `Refusal` NOT_FOUND, INVALID_INPUT, WRONG_STATE while the endpoint is
    disabled, QUOTA_EXCEEDED while too many ranges are worked off.
    """
    endpoint = webhook_changes.find(connection, tenant, webhook_id, locked=True)
    if endpoint.health.disabled_reason is not None:
        raise Refusal(Reason.WRONG_STATE, "The webhook is disabled: enable it first.")
    wanted = Range(
        endpoint_id=endpoint.id, created_after=after or _EPOCH, created_before=before or rows.now(connection)
    )
    if wanted.created_after >= wanted.created_before:
        raise invalid(Violation(field="before", message="Must be later than `after`."))
    count = redeliveries.count(connection, wanted)
    if count:
        if redeliveries.count_ranges(connection, endpoint.id) >= MAX_RANGES:
            raise Refusal(Reason.QUOTA_EXCEEDED, f"{MAX_RANGES} ranges of this webhook are being redelivered.")
        redeliveries.add(connection, wanted)
    return count
