"""Request bodies and query parameters of the webhook calls."""

import re
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from gateway.schemas.queries import PlainText, Time
from gateway.schemas.requests import PLAIN_LINE, WHOLE, Body, WebAddress, documented_pattern, refused
from gateway.schemas.webhooks import DeliveryState, SignatureScheme, WebhookEventType

#: Longest description of an endpoint, in characters.
MAX_DESCRIPTION = 200
#: Most entries of a list of event types: every type once.
MAX_EVENT_TYPES = len(get_args(WebhookEventType))
#: Longest time for which an old secret signs beside the new one, in seconds: a week.
MAX_GRACE_SECONDS = 604_800


def _left_out() -> Any:
    """Returns the default of a field that may be left out; `model_fields_set` says which fields are sent."""
    return Field(default=None)


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


def _one_line(text: str) -> str:
    if not re.fullmatch(PLAIN_LINE, text):
        raise refused("Must be one line without control characters.")
    return text


_Description = Annotated[
    str, StringConstraints(max_length=MAX_DESCRIPTION), AfterValidator(_one_line), documented_pattern(PLAIN_LINE)
]
_EventTypes = Annotated[list[WebhookEventType], Field(max_length=MAX_EVENT_TYPES)]


class CreateWebhook(Body):
    """A new webhook endpoint."""

    url: WebAddress
    """Public http or https URL that events are posted to; at most 2,048 characters."""
    description: _Description | None = None
    """The tenant's own note; at most 200 characters."""
    event_types: _EventTypes = Field(default=[])
    """Event types to deliver; empty for all."""
    signature_scheme: SignatureScheme = "v1"
    """How deliveries are signed; it cannot be changed later."""


class UpdateWebhook(Body):
    """Changes of an endpoint; fields that are left out stay as they are."""

    # None stands for a field that is left out: null is refused where the type does not allow it.
    model_config = ConfigDict(json_schema_extra=_without_defaults)

    url: WebAddress = _left_out()
    """Public http or https URL that events are posted to; at most 2,048 characters."""
    description: _Description | None = _left_out()
    """The tenant's own note, at most 200 characters; null removes it."""
    event_types: _EventTypes | None = _left_out()
    """Event types to deliver, in place of the present list; empty or null for all."""
    enabled: bool = _left_out()
    """False disables the endpoint; true enables it and resets its health."""


class RotateSecret(Body):
    """How long the old secret remains valid."""

    grace_seconds: Annotated[int, Field(ge=0, le=MAX_GRACE_SECONDS), WHOLE] = 86_400
    """Seconds for which deliveries are signed with the old secret, too; at most a week."""


class RedeliverRange(Body):
    """A range of deliveries by their creation."""

    after: Time
    """Deliveries created at or after this time (RFC 3339, such as `2026-01-31T12:00:00Z`)."""
    before: Time | None = None
    """Deliveries created before this time (RFC 3339); null: until now."""


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ListWebhooks(_Query):
    """Page of a list of endpoints."""

    page_size: Annotated[int, Field(ge=1, le=100)] = 20
    """Endpoints per page."""
    page_token: Annotated[PlainText, StringConstraints(max_length=2048)] = ""
    """`next_page_token` of the page before. Left out: the first page."""


class ListDeliveries(_Query):
    """Filters and page of a list of deliveries; a delivery must match every filter."""

    state: DeliveryState | None = None
    """Deliveries in this state."""
    event_type: WebhookEventType | None = None
    """Deliveries of this type of event."""
    page_size: Annotated[int, Field(ge=1, le=100)] = 20
    """Deliveries per page."""
    page_token: Annotated[PlainText, StringConstraints(max_length=2048)] = ""
    """`next_page_token` of the page before; only valid with the same filters. Left out: the first page."""
