"""Selects the state to show for a job from the table of `ui_states`, and how soon to poll again."""

import math
from dataclasses import dataclass
from datetime import datetime

from calotype.error_reasons import Code, Reason
from calotype.job_status import FINAL_STATUSES

from gateway.schemas.catalogue import UiCondition
from gateway.schemas.jobs import DisplayView, ProviderCancel, Stage, Status, WaitReason
from gateway.views import locales

FIRST_POLL_MS = 1_000
LAST_POLL_MS = 10_000
#: Seconds after its creation or retry during which a job is polled at the shortest interval.
YOUNG_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class JobCondition:
    """The properties of a job that decide which state is shown."""

    status: Status
    """Status of the job."""
    failure_stage: Stage | None = None
    """Stage in which the job failed; None unless it failed."""
    code: Code | None = None
    """Class of the failure; None unless it failed, or if only a newer service knows it."""
    reason: Reason | None = None
    """Cause of the failure; None as for `code`."""
    provider_cancel: ProviderCancel | None = None
    """Result of canceling at the provider; None unless the job was canceled during a call."""
    images_missing: bool = False
    """Whether the job has fewer images than were requested."""
    wait: WaitReason | None = None
    """What the job waits for; None if it does not wait, or if only a newer service knows the reason."""
    retry_needs_consent: bool = False
    """Whether a retry may charge again for images that may have been paid for."""


def display(
    condition: JobCondition,
    *,
    age_seconds: float,
    next_try_at: datetime | None = None,
    locale: str = locales.SOURCE,
) -> DisplayView:
    """Returns what to show for a job; `age_seconds` counts from its creation or its last retry.

    `next_try_at` is the time for which the job waits; None if none is known.
    """
    state = next(state for state in locales.states(locale) if _matches(state.when, condition))
    actions = list(state.actions)
    if condition.retry_needs_consent and "retry" in actions:
        actions[actions.index("retry")] = "retry_may_charge_again"
    return DisplayView(
        key=state.key,
        title=state.title,
        message=state.message,
        tone=state.tone,
        percent=state.percent,
        actions=actions,
        next_try_at=next_try_at,
        poll_after_ms=None if condition.status in FINAL_STATUSES else poll_after_ms(age_seconds),
    )


def poll_after_ms(age_seconds: float) -> int:
    """Returns the pause before the next poll: one second at first, then 1.5 times the previous pause, up to ten."""
    polled_at, pause = YOUNG_SECONDS, float(FIRST_POLL_MS)
    while polled_at < age_seconds and pause < LAST_POLL_MS:
        pause = min(pause * 1.5, LAST_POLL_MS)
        polled_at += pause / 1000
    return round(pause)


def retry_after(view: DisplayView) -> dict[str, str]:
    """Returns the pause before the next poll as a Retry-After header; no header for a final job."""
    return {} if view.poll_after_ms is None else {"Retry-After": str(math.ceil(view.poll_after_ms / 1000))}


def _matches(when: UiCondition, condition: JobCondition) -> bool:
    pairs = (
        (when.failure_stage, condition.failure_stage),
        (when.code, condition.code),
        (when.reason, condition.reason),
        (when.provider_cancel, condition.provider_cancel),
        (when.images_missing, condition.images_missing),
        (when.wait, condition.wait),
    )
    return when.status == condition.status and all(required is None or required == value for required, value in pairs)
