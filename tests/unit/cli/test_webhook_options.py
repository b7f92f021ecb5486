"""The commands about webhooks name the same values as the API and the notifier."""

from typing import get_args

import pytest
from calotype.notifier.v1 import webhook_service_pb2 as notifier

from cli.api.webhook_options import EVENT_TYPES, STATES
from gateway.schemas.webhooks import AttemptError, DeliveryState, DisabledReason, WebhookEventType, WebhookState
from services.notifier.domain import events


def test_types_of_events_are_the_notifiers() -> None:
    assert EVENT_TYPES == get_args(WebhookEventType) == events.SUBSCRIBABLE


def test_states_of_deliveries_are_the_apis() -> None:
    assert get_args(DeliveryState) == STATES


@pytest.mark.parametrize(
    ("literal", "enum", "prefix"),
    [
        (DeliveryState, notifier.DeliveryState, "DELIVERY_STATE_"),
        (WebhookState, notifier.WebhookState, "WEBHOOK_STATE_"),
        (DisabledReason, notifier.DisabledReason, "DISABLED_REASON_"),
        (AttemptError, notifier.AttemptError, "ATTEMPT_ERROR_"),
    ],
)
def test_the_api_has_every_value_of_the_contract(literal: object, enum: object, prefix: str) -> None:
    names = [name.removeprefix(prefix).lower() for name in enum.keys()]  # noqa: SIM118

    assert [name for name in names if name != "unspecified"] == [one for one in get_args(literal) if one != "unknown"]
