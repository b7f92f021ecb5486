"""What a user can see of a job: one table from where it stands to words, tone and buttons."""

from collections.abc import Sequence

from gateway.schemas.catalogue import UiCondition, UiStateView
from gateway.schemas.jobs import Action, Code, ProviderCancel, Stage, Status, Tone


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

#: The first row whose condition holds is shown. What can occur, and so needs a row: `tests/support/standings.py`.
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
    # Wherever it happened, the reason alone says what to do.
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
        "Your request could not be finished in the time that it had. "
        "What was begun may be charged all the same. Try again.",
        actions=_RETRY,
        reason="DEADLINE_EXCEEDED",
    ),
    _state(
        "failed_quota_exhausted",
        "Provider account is empty",
        "The account at the provider is out of credit. Whoever runs this service has to top it up; try again then.",
        actions=_RETRY,
        reason="QUOTA_EXHAUSTED",
    ),
    _state(
        "failed_budget",
        "Budget is used up",
        "The budget for this day or month does not cover your pictures. Try again when the next one begins.",
        tone="warning",
        actions=_RETRY,
        reason="BUDGET_EXHAUSTED",
    ),
    _state(
        "failed_provider_access",
        "No access to the provider",
        "The provider does not let this service in. Whoever runs the service has to mend that; try again then.",
        actions=_RETRY,
        reason="PROVIDER_AUTH",
    ),
    _state(
        "failed_provider_gone",
        "Provider is gone",
        "The provider of your request is no longer offered here. Choose another and submit anew, or try again later.",
        actions=_RETRY,
        reason="PROVIDER_NOT_FOUND",
    ),
    _state(
        "failed_provider_rejected",
        "Provider could not do it",
        "The provider does not know the model, or failed at your request. "
        "Choose another model and submit anew, or try again later.",
        actions=_RETRY,
        reason="PROVIDER_REJECTED",
    ),
    _state(
        "failed_provider_stopped",
        "Stopped by the provider",
        "The provider stopped before your pictures were done. Try again.",
        actions=_RETRY,
        reason="PROVIDER_CANCELED",
    ),
    # Before a provider was asked: pictures that were given, then all else.
    _state(
        "failed_input_picture",
        "Picture cannot be used",
        "A picture that you gave is no PNG, JPEG or WebP that can be read. Choose another and submit anew.",
        tone="warning",
        stage="processing",
        reason="INVALID_INPUT",
    ),
    _state(
        "failed_input_size",
        "Picture is too large",
        "The pictures that you gave are larger than may be. Choose smaller ones and submit anew.",
        tone="warning",
        stage="processing",
        reason="TOO_LARGE",
    ),
    _state(
        "failed_input_address",
        "Picture cannot be used",
        "The address of a picture that you gave may not be fetched. Choose another and submit anew.",
        tone="warning",
        stage="processing",
        reason="FORBIDDEN_ADDRESS",
    ),
    _state(
        "failed_input_fetch",
        "Picture cannot be reached",
        "A picture that you gave could not be fetched. See that its address is right, then try again.",
        tone="warning",
        actions=_RETRY,
        stage="processing",
        reason="FETCH_FAILED",
    ),
    _state(
        "failed_preparing",
        "Could not be prepared",
        "This service could not get your request ready. Try again in a while.",
        actions=_RETRY,
        stage="processing",
    ),
    # While it was made: a result that did not get here, or was not kept.
    _state(
        "failed_result_picture",
        "Result cannot be used",
        "What the provider sent is no picture. It may have been charged all the same. Try again.",
        actions=_RETRY,
        stage="generating",
        reason="INVALID_IMAGE",
    ),
    _state(
        "failed_result_size",
        "Result is too large",
        "What the provider sent is larger than may be. It may have been charged all the same. "
        "Ask for smaller pictures and submit anew, or try again.",
        actions=_RETRY,
        stage="generating",
        reason="TOO_LARGE",
    ),
    _state(
        "failed_result_address",
        "Result cannot be fetched",
        "The provider's result lies where it may not be fetched. It may have been charged all the same. "
        "Whoever runs this service has to look into it; try again then.",
        actions=_RETRY,
        stage="generating",
        reason="FORBIDDEN_ADDRESS",
    ),
    _state(
        "failed_result_fetch",
        "Result cannot be reached",
        "The provider's result could not be fetched. It may have been charged all the same. Try again in a while.",
        actions=_RETRY,
        stage="generating",
        reason="FETCH_FAILED",
    ),
    _state(
        "failed_result_mismatch",
        "Result did not arrive",
        "Your pictures did not arrive as they should. They may have been charged all the same. Try again.",
        actions=_RETRY,
        stage="generating",
        reason="RESULT_MISMATCH",
    ),
    _state(
        "failed_result_storage",
        "Could not be kept",
        "The place where pictures are kept could not be reached. "
        "What was made may have been charged all the same. Try again in a while.",
        actions=_RETRY,
        stage="generating",
        reason="STORAGE_UNAVAILABLE",
    ),
    _state(
        "failed_result_storage_denied",
        "Could not be kept",
        "The place where pictures are kept does not let this service in. "
        "What was made may have been charged all the same. "
        "Whoever runs the service has to mend that; try again then.",
        actions=_RETRY,
        stage="generating",
        reason="STORAGE_DENIED",
    ),
    _state(
        "failed_result_unseen",
        "Could not be looked at",
        "Your pictures have come, and could not be looked at. "
        "What was made may have been charged all the same; it is kept. Try again in a while.",
        actions=_RETRY,
        stage="generating",
        reason="SERVICE_UNAVAILABLE",
    ),
    _state(
        "failed_interrupted",
        "Interrupted",
        "Work on your pictures was interrupted. What was begun may be charged all the same. Try again.",
        actions=_RETRY,
        stage="generating",
        reason="WORKER_LOST",
    ),
    # After it was made.
    _state(
        "failed_storage_denied",
        "Could not be saved",
        "Your pictures are made, but this service is not let in where they are saved. "
        "Whoever runs the service has to mend that; try again then: what is made is not charged anew.",
        actions=_RETRY,
        stage="uploading",
        reason="STORAGE_DENIED",
    ),
    _state(
        "failed_storage",
        "Could not be saved",
        "Your pictures are made, but could not be saved. Try again: what is made is not charged anew.",
        actions=_RETRY,
        stage="uploading",
    ),
    _state(
        "failed_recording",
        "Could not be kept",
        "Your pictures were made and may have been charged, but were not kept as they should be. "
        "Try again; if that does not help, submit anew.",
        actions=_RETRY,
        stage="persisting",
    ),
    # What is left: of the provider, or of a kind that only a newer version of a service knows more of.
    _state(
        "failed_waiting",
        "Waited too long",
        "The provider was busy or out of order for too long. Try again later.",
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
        "Your pictures were not finished in time. What was begun may be charged all the same. Try again.",
        actions=_RETRY,
        code="TIMEOUT",
    ),
    _state(
        "failed_temporary",
        "Provider is away",
        "The provider could not be reached, or could not finish this time. Try again in a while.",
        actions=_RETRY,
        reason="PROVIDER_UNAVAILABLE",
    ),
    _state(
        "failed_request",
        "Cannot be made",
        "The provider cannot make this as asked. Change the request and submit anew.",
        tone="warning",
        code="PERMANENT",
    ),
    _state(
        "failed_unclassified",
        "Answer not understood",
        "The provider answered in a way that is not understood here. It may have been charged all the same. Try again.",
        actions=_RETRY,
        code="UNKNOWN",
        reason="UNCLASSIFIED",
    ),
    _state(
        "failed",
        "Something went wrong",
        "The pictures could not be made. What was begun may be charged all the same. Try again.",
        actions=_RETRY,
    ),
)
