"""The display states of a job that waits for something else than its turn; one row per reason of the wait."""

from gateway.schemas.catalogue import UiStateView
from gateway.schemas.jobs import Tone, WaitReason
from gateway.views.ui_state_row import state

#: Reason of the wait, key of the state, title, message and tone.
_ROWS: tuple[tuple[WaitReason, str, str, str, Tone], ...] = (
    (
        "paused",
        "queued_paused",
        "Paused",
        "This service has paused the work on your images. They will be made when it continues.",
        "warning",
    ),
    (
        "provider_down",
        "queued_provider_down",
        "The provider is not available",
        "Your images will be made as soon as it works again. You need not do anything.",
        "warning",
    ),
    (
        "no_generator",
        "queued_provider_away",
        "The provider is not connected",
        "Your images will be made as soon as this service is connected to it again. You need not do anything.",
        "warning",
    ),
    (
        "provider_limit",
        "queued_limit",
        "Waiting for the provider",
        "The provider makes only so many images at a time. Yours are made when it is their turn.",
        "info",
    ),
    (
        "provider_rate",
        "queued_rate_limit",
        "Waiting for the provider",
        "The provider takes only so many requests a minute. Yours is sent when it is its turn.",
        "info",
    ),
    (
        "tenant_limit",
        "queued_own_limit",
        "Waiting for your other images",
        "As many of your images are being made as your account allows. These follow when others are done.",
        "info",
    ),
    (
        "retry",
        "queued_retry",
        "Trying again soon",
        "The last try did not work; the next one begins by itself. You need not do anything.",
        "info",
    ),
)


def waiting_states() -> list[UiStateView]:
    """Returns the rows; they come before the row of any queued job."""
    return [
        state(key, title, message, status="queued", tone=tone, percent=0, actions=("cancel",), wait=reason)
        for reason, key, title, message, tone in _ROWS
    ]
