"""What a user should see of a job: one table from where it stands to words, tone and buttons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.schemas.catalogue import UiCondition, UiStateView
from gateway.schemas.jobs import Action, Code, DisplayView, ProviderCancel, Stage, Status, Tone

FINAL: frozenset[Status] = frozenset({"completed", "failed", "canceled"})
FIRST_POLL_MS = 1_000
LAST_POLL_MS = 10_000
#: Seconds for which a job is young, and asked about often.
YOUNG_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What decides the state that is shown."""

    status: Status
    failure_stage: Stage | None = None
    code: Code | None = None
    reason: str | None = None
    provider_cancel: ProviderCancel | None = None
    images_missing: bool = False
    retry_needs_consent: bool = False


def _state(
    key: str,
    title: str,
    message: str,
    *,
    status: Status = "failed",
    tone: Tone = "error",
    percent: int | None = None,
    actions: Sequence[Action] = (),
    stage: Stage | None = None,
    code: Code | None = None,
    reason: str | None = None,
    provider_cancel: ProviderCancel | None = None,
    images_missing: bool | None = None,
) -> UiStateView:
    when = UiCondition(
        status=status,
        failure_stage=stage,
        code=code,
        reason=reason,
        provider_cancel=provider_cancel,
        images_missing=images_missing,
    )
    return UiStateView(
        when=when, key=key, title=title, message=message, tone=tone, percent=percent, actions=list(actions)
    )


_CANCEL: tuple[Action, ...] = ("cancel",)
_RETRY: tuple[Action, ...] = ("retry",)
_PAY: tuple[Action, ...] = ("retry_may_charge_again",)

#: The first row whose condition holds is shown.
STATES: tuple[UiStateView, ...] = (
    _state(
        "queued",
        "In the queue",
        "Your pictures will be made as soon as it is their turn.",
        status="queued",
        tone="info",
        percent=0,
        actions=_CANCEL,
    ),
    _state(
        "processing",
        "Getting ready",
        "Your request is being prepared.",
        status="processing",
        tone="progress",
        percent=10,
        actions=_CANCEL,
    ),
    _state(
        "generating",
        "Making your pictures",
        "The provider is at work.",
        status="generating",
        tone="progress",
        percent=40,
        actions=_CANCEL,
    ),
    _state(
        "uploading",
        "Saving your pictures",
        "They are made and are being stored.",
        status="uploading",
        tone="progress",
        percent=90,
        actions=_CANCEL,
    ),
    _state(
        "completed_partly",
        "Done in part",
        "Some of the pictures could not be made; the warnings tell why.",
        status="completed",
        tone="warning",
        percent=100,
        images_missing=True,
    ),
    _state("completed", "Done", "Your pictures are ready.", status="completed", tone="success", percent=100),
    _state(
        "canceled_pending",
        "Canceled",
        "The provider is being asked to stop.",
        status="canceled",
        tone="info",
        provider_cancel="pending",
    ),
    _state(
        "canceled_too_late",
        "Canceled",
        "The provider had finished already, and may charge for it.",
        status="canceled",
        tone="warning",
        provider_cancel="too_late",
    ),
    _state(
        "canceled_unsupported",
        "Canceled",
        "The provider cannot stop what it began, and may charge for it.",
        status="canceled",
        tone="warning",
        provider_cancel="unsupported",
    ),
    _state("canceled", "Canceled", "Nothing more will be made.", status="canceled", tone="info"),
    _state(
        "failed_content_policy",
        "Not allowed",
        "The provider refused the prompt or a picture. Change it and submit anew.",
        tone="warning",
        reason="CONTENT_POLICY",
    ),
    _state(
        "failed_ambiguous",
        "Outcome unknown",
        "It is not known whether the provider made your pictures. Trying again may be charged a second time.",
        tone="warning",
        actions=_PAY,
        reason="AMBIGUOUS_OUTCOME",
    ),
    _state(
        "failed_result_lost",
        "Result lost",
        "The pictures were made but can no longer be fetched. Trying again may be charged a second time.",
        actions=_PAY,
        reason="RESULT_LOST",
    ),
    _state(
        "failed_deadline",
        "Out of time",
        "Your request could not be finished in the time that it had.",
        actions=_RETRY,
        reason="DEADLINE_EXCEEDED",
    ),
    _state(
        "failed_quota_exhausted",
        "Provider account is empty",
        "The account at the provider is out of credit. Try again once it was topped up.",
        actions=_RETRY,
        reason="QUOTA_EXHAUSTED",
    ),
    _state(
        "failed_input_picture",
        "Picture cannot be used",
        "A picture could not be read or may not be fetched. Choose another and submit anew.",
        tone="warning",
        stage="processing",
        reason="INVALID_IMAGE",
    ),
    _state(
        "failed_input_address",
        "Picture cannot be used",
        "The address of a picture may not be fetched. Choose another and submit anew.",
        tone="warning",
        reason="FORBIDDEN_ADDRESS",
    ),
    _state(
        "failed_storage",
        "Could not be saved",
        "Your pictures are made, but could not be stored. Trying again makes nothing anew and costs nothing.",
        actions=_RETRY,
        stage="uploading",
    ),
    _state(
        "failed_recording",
        "Could not be recorded",
        "Your pictures were made, but the result could not be recorded.",
        actions=_RETRY,
        stage="persisting",
    ),
    _state(
        "failed_waiting",
        "Waited too long",
        "No worker or provider was free in time. Try again later.",
        actions=_RETRY,
        stage="queued",
    ),
    _state(
        "failed_rate_limit",
        "Too busy",
        "The provider takes no more requests for now. Try again later.",
        tone="warning",
        actions=_RETRY,
        code="RATE_LIMIT",
    ),
    _state(
        "failed_timeout",
        "Took too long",
        "The provider did not finish in time. Try again.",
        actions=_RETRY,
        code="TIMEOUT",
    ),
    _state(
        "failed_temporary",
        "Provider is away",
        "The provider could not be reached. Try again in a while.",
        actions=_RETRY,
        code="TEMPORARY",
    ),
    _state(
        "failed_provider_access",
        "No access to the provider",
        "The provider refused this service's credential. Its operator has to renew it.",
        actions=_RETRY,
        code="AUTH_ERROR",
    ),
    _state(
        "failed_request",
        "Cannot be made",
        "The provider cannot make this as asked. Change the request and submit anew.",
        tone="warning",
        code="PERMANENT",
    ),
    _state("failed", "Something went wrong", "The pictures could not be made. Try again.", actions=_RETRY),
)


def display(standing: Standing, *, age_seconds: float) -> DisplayView:
    """What to show of a job of that age."""
    state = next(one for one in STATES if _holds(one.when, standing))
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


def _holds(when: UiCondition, standing: Standing) -> bool:
    wanted = (
        (when.failure_stage, standing.failure_stage),
        (when.code, standing.code),
        (when.reason, standing.reason),
        (when.provider_cancel, standing.provider_cancel),
        (when.images_missing, standing.images_missing),
    )
    return when.status == standing.status and all(need is None or need == found for need, found in wanted)
