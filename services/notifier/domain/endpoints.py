"""Webhook endpoints of tenants, and the hidden ones behind callback URLs."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.notifier.domain.events import JobEvent
from services.notifier.domain.health import EndpointHealth

#: Limits of a new endpoint, in characters and entries.
MAX_URL, MAX_DESCRIPTION = 2_048, 200
#: Deliveries that are attempted at the same time: per endpoint, and per slow one.
IN_FLIGHT, SLOW_IN_FLIGHT = 4, 2
#: By how much the clocks of the notifier's database and job-service's may differ without the loss of an event.
CLOCK_TOLERANCE = timedelta(minutes=10)
#: Parts of a process's slots: for endpoints that are slow, and for those without an attempt yet.
SLOW_PART, NEW_PART = 0.125, 0.125


class Kind(StrEnum):
    """What an endpoint row stands for."""

    #: An endpoint that a tenant created.
    ENDPOINT = "endpoint"
    #: The origin of the callback URLs of a tenant's jobs, so that a dead receiver delays only itself.
    CALLBACK = "callback"


class SlotShare(StrEnum):
    """Part of a process's slots that an endpoint's attempts fill, so that slow receivers hold up no others."""

    #: Endpoints that are not slow.
    NORMAL = "normal"
    #: Endpoints without an attempt since they were created, moved or enabled.
    NEW = "new"
    #: Slow endpoints.
    SLOW = "slow"


class SignatureScheme(StrEnum):
    """How deliveries are signed (Standard Webhooks)."""

    #: HMAC-SHA256 with a shared secret.
    V1 = "v1"
    #: Ed25519 with a public key.
    V1A = "v1a"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A webhook endpoint."""

    #: Id; written as `wh_` and its hexadecimal digits.
    id: UUID
    #: Owner.
    tenant: str
    #: Whether a tenant created it.
    kind: Kind = Kind.ENDPOINT
    #: URL to post to; for `CALLBACK` scheme, host and port.
    url: str
    #: The tenant's own note; empty for none.
    description: str = ""
    #: Event types to deliver; empty for all.
    event_types: tuple[str, ...] = ()
    #: How deliveries are signed.
    scheme: SignatureScheme = SignatureScheme.V1
    #: How deliveries fare; its `disabled_reason` says whether it is enabled.
    health: EndpointHealth = EndpointHealth()  # noqa: RUF009 - immutable
    #: Creation time; events that occurred before are not delivered, see `wants`.
    created_at: datetime
    #: Time of the last change of its settings.
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret that signs deliveries."""

    #: Id.
    id: UUID
    #: Owner.
    tenant: str
    #: Endpoint; None for the callback URLs of the tenant's jobs.
    endpoint_id: UUID | None
    #: Key of HMAC-SHA256 (32 bytes), or seed of the Ed25519 key (32 bytes).
    key: bytes = field(repr=False)
    #: Creation time.
    created_at: datetime
    #: When it stops to sign; None for the current one.
    expires_at: datetime | None = None


def wants(endpoint: Endpoint, event: JobEvent) -> bool:
    """Returns whether an event of a job is delivered to an endpoint that a tenant created.

    An event that occurred up to `CLOCK_TOLERANCE` before the endpoint was created is, if it is read afterwards.
    """
    return (
        endpoint.kind is Kind.ENDPOINT
        and endpoint.tenant == event.tenant
        and event.occurred_at >= endpoint.created_at - CLOCK_TOLERANCE
        and (not endpoint.event_types or event.type in endpoint.event_types)
    )


def share_of(health: EndpointHealth) -> SlotShare:
    """Returns the part of the slots that an endpoint's attempts fill."""
    if not health.is_slow:
        return SlotShare.NORMAL
    return SlotShare.NEW if health.window_started_at is None else SlotShare.SLOW


def in_flight_limit(health: EndpointHealth) -> int:
    """Returns how many deliveries to an endpoint are attempted at the same time."""
    if health.is_open:
        return 1
    return SLOW_IN_FLIGHT if health.is_slow else IN_FLIGHT
