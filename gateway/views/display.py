"""What a user should see of a job, by the table of `ui_states`; and when to ask again."""

import math
from dataclasses import dataclass

from gateway.schemas.catalogue import UiCondition
from gateway.schemas.jobs import Code, DisplayView, ProviderCancel, Stage, Status
from gateway.views import locales

FINAL: frozenset[Status] = frozenset({"completed", "failed", "canceled"})
FIRST_POLL_MS = 1_000
LAST_POLL_MS = 10_000
#: Seconds for which a job is young, and asked about often.
YOUNG_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class JobCondition:
    """What decides the state that is shown."""

    status: Status
    failure_stage: Stage | None = None
    code: Code | None = None
    reason: str | None = None
    provider_cancel: ProviderCancel | None = None
    images_missing: bool = False
    retry_needs_consent: bool = False


def display(standing: JobCondition, *, age_seconds: float, locale: str = locales.SOURCE) -> DisplayView:
    """What to show of a job of that age, in a language of ours."""
    state = next(one for one in locales.states(locale) if _holds(one.when, standing))
    actions = list(state.actions)
    if standing.retry_needs_consent and "retry" in actions:
        actions[actions.index("retry")] = "retry_may_charge_again"
    return DisplayView(
        key=state.key,
        title=state.title,
        message=state.message,
        tone=state.tone,
        percent=state.percent,
        actions=actions,
        poll_after_ms=None if standing.status in FINAL else poll_after_ms(age_seconds),
    )


def poll_after_ms(age_seconds: float) -> int:
    """How long to wait before asking again: a second while young, then half as long again each time."""
    asked_at, pause = YOUNG_SECONDS, float(FIRST_POLL_MS)
    while asked_at < age_seconds and pause < LAST_POLL_MS:
        pause = min(pause * 1.5, LAST_POLL_MS)
        asked_at += pause / 1000
    return round(pause)


def retry_after(shown: DisplayView) -> dict[str, str]:
    """The same as a header; none for a final job."""
    return {} if shown.poll_after_ms is None else {"Retry-After": str(math.ceil(shown.poll_after_ms / 1000))}


def _holds(when: UiCondition, standing: JobCondition) -> bool:
    wanted = (
        (when.failure_stage, standing.failure_stage),
        (when.code, standing.code),
        (when.reason, standing.reason),
        (when.provider_cancel, standing.provider_cancel),
        (when.images_missing, standing.images_missing),
    )
    return when.status == standing.status and all(need is None or need == found for need, found in wanted)
