"""Builds a row of the table of display states."""

from collections.abc import Sequence

from calotype.error_reasons import Code, Reason

from gateway.schemas.catalogue import UiCondition, UiStateView
from gateway.schemas.jobs import Action, ProviderCancel, Stage, Status, Tone, WaitReason


def state(
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
    reason: Reason | None = None,
    provider_cancel: ProviderCancel | None = None,
    images_missing: bool | None = None,
    wait: WaitReason | None = None,
) -> UiStateView:
    """Returns a row of the table: the texts and buttons of a state, and the conditions under which it is shown.

    The conditions are `status`, `stage`, `code`, `reason`, `provider_cancel`, `images_missing` and `wait`; None matches
    any value. `percent` is the position of the progress bar; None shows no bar.
    """
    when = UiCondition(
        status=status,
        failure_stage=stage,
        code=code,
        reason=reason,
        provider_cancel=provider_cancel,
        images_missing=images_missing,
        wait=wait,
    )
    return UiStateView(
        when=when, key=key, title=title, message=message, tone=tone, percent=percent, actions=list(actions)
    )
