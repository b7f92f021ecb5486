"""The table of display states: what a user sees of a job, by its status and failure."""

from calotype.error_reasons import Code, Reason

from gateway.schemas.catalogue import UiStateView
from gateway.schemas.jobs import Action
from gateway.views.ui_state_row import state
from gateway.views.ui_waiting_states import waiting_states

_CANCEL: tuple[Action, ...] = ("cancel",)
_RETRY: tuple[Action, ...] = ("retry",)
_PAY: tuple[Action, ...] = ("retry_may_charge_again",)

#: The first row whose condition holds is shown; `tests/support/gateway/job_conditions.py` lists all conditions.
STATES: tuple[UiStateView, ...] = (
    *waiting_states(),
    state(
        "queued",
        "In the queue",
        "Your images will be made when it is their turn.",
        status="queued",
        tone="info",
        percent=0,
        actions=_CANCEL,
    ),
    state(
        "processing",
        "Getting ready",
        "Your request is being prepared.",
        status="processing",
        tone="progress",
        percent=10,
        actions=_CANCEL,
    ),
    state(
        "generating",
        "Making your images",
        "The provider is working on them.",
        status="generating",
        tone="progress",
        percent=40,
        actions=_CANCEL,
    ),
    state(
        "uploading",
        "Saving your images",
        "Your images are made and are being saved.",
        status="uploading",
        tone="progress",
        percent=90,
        actions=_CANCEL,
    ),
    state(
        "completed_partly",
        "Partly done",
        "Some images could not be made; the warnings say why.",
        status="completed",
        tone="warning",
        percent=100,
        images_missing=True,
    ),
    state("completed", "Done", "Your images are ready.", status="completed", tone="success", percent=100),
    state(
        "canceled_pending",
        "Canceled",
        "The provider is being asked to stop.",
        status="canceled",
        tone="info",
        provider_cancel="pending",
    ),
    state(
        "canceled_too_late",
        "Canceled",
        "The provider had already finished, and may charge for it.",
        status="canceled",
        tone="warning",
        provider_cancel="too_late",
    ),
    state(
        "canceled_unsupported",
        "Canceled",
        "The provider cannot stop what it has started, and may charge for it.",
        status="canceled",
        tone="warning",
        provider_cancel="unsupported",
    ),
    state("canceled", "Canceled", "No more images will be made.", status="canceled", tone="info"),
    # Failures of any stage whose reason alone decides the text.
    state(
        "failed_content_policy",
        "Not allowed",
        "The provider refused the prompt or an image. Change it and submit a new request.",
        tone="warning",
        reason=Reason.CONTENT_POLICY,
    ),
    state(
        "failed_ambiguous",
        "Outcome unknown",
        "It is not known whether the provider made your images. If you try again, you may be charged a second time.",
        tone="warning",
        actions=_PAY,
        reason=Reason.AMBIGUOUS_OUTCOME,
    ),
    state(
        "failed_result_lost",
        "Result lost",
        "Your images were made but can no longer be downloaded. If you try again, you may be charged a second time.",
        actions=_PAY,
        reason=Reason.RESULT_LOST,
    ),
    state(
        "failed_deadline",
        "Out of time",
        "Your request was not finished within its time limit. Work that was started may still be charged. Try again.",
        actions=_RETRY,
        reason=Reason.DEADLINE_EXCEEDED,
    ),
    state(
        "failed_quota_exhausted",
        "Provider account is empty",
        "The account at the provider is out of credit. The operator of this service has to add credit; then try again.",
        actions=_RETRY,
        reason=Reason.QUOTA_EXHAUSTED,
    ),
    state(
        "failed_budget",
        "Budget is used up",
        "The budget for this day or month does not cover your images. Try again when the next day or month begins.",
        tone="warning",
        actions=_RETRY,
        reason=Reason.BUDGET_EXHAUSTED,
    ),
    state(
        "failed_provider_access",
        "No access to the provider",
        "The provider does not accept the key of this service. The operator has to replace it; then try again.",
        actions=_RETRY,
        reason=Reason.PROVIDER_AUTH,
    ),
    state(
        "failed_provider_gone",
        "Provider no longer available",
        "The provider of your request is no longer available here. "
        "Choose another one and submit a new request, or try again later.",
        actions=_RETRY,
        reason=Reason.PROVIDER_NOT_FOUND,
    ),
    state(
        "failed_provider_rejected",
        "Provider could not do it",
        "The provider does not know the model, or could not process your request. "
        "Choose another model and submit a new request, or try again later.",
        actions=_RETRY,
        reason=Reason.PROVIDER_REJECTED,
    ),
    state(
        "failed_provider_stopped",
        "Stopped by the provider",
        "The provider stopped before your images were finished. Try again.",
        actions=_RETRY,
        reason=Reason.PROVIDER_CANCELED,
    ),
    # Failures before the first provider call: of input images, then all others.
    state(
        "failed_input_picture",
        "Image cannot be used",
        "One of your input images is not a readable PNG, JPEG or WebP file. "
        "Choose another image and submit a new request.",
        tone="warning",
        stage="processing",
        reason=Reason.INVALID_INPUT,
    ),
    state(
        "failed_input_size",
        "Image is too large",
        "Your input images are too large. Choose smaller ones and submit a new request.",
        tone="warning",
        stage="processing",
        reason=Reason.TOO_LARGE,
    ),
    state(
        "failed_input_address",
        "Image cannot be used",
        "The address of one of your input images is not allowed. Choose another image and submit a new request.",
        tone="warning",
        stage="processing",
        reason=Reason.FORBIDDEN_ADDRESS,
    ),
    state(
        "failed_input_fetch",
        "Image cannot be reached",
        "One of your input images could not be downloaded. Check its address, then try again.",
        tone="warning",
        actions=_RETRY,
        stage="processing",
        reason=Reason.FETCH_FAILED,
    ),
    state(
        "failed_preparing",
        "Could not be prepared",
        "This service could not prepare your request. Try again in a few minutes.",
        actions=_RETRY,
        stage="processing",
    ),
    # Failures during generation: results that did not arrive or could not be stored.
    state(
        "failed_result_picture",
        "Result cannot be used",
        "The provider did not return a valid image. It may still be charged. Try again.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.INVALID_IMAGE,
    ),
    state(
        "failed_result_size",
        "Result is too large",
        "The provider returned more data than this service accepts. It may still be charged. "
        "Choose a smaller size and submit a new request, or try again.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.TOO_LARGE,
    ),
    state(
        "failed_result_address",
        "Result cannot be downloaded",
        "The provider returned an address from which this service may not download. "
        "The images may still be charged. The operator of this service has to check that; then try again.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.FORBIDDEN_ADDRESS,
    ),
    state(
        "failed_result_fetch",
        "Result cannot be reached",
        "The result could not be downloaded from the provider. It may still be charged. Try again in a few minutes.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.FETCH_FAILED,
    ),
    state(
        "failed_result_mismatch",
        "Result is incomplete",
        "Your images did not arrive completely. They may still be charged. Try again.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.RESULT_MISMATCH,
    ),
    state(
        "failed_result_storage",
        "Could not be stored",
        "The image storage could not be reached. Images that were made may still be charged. "
        "Try again in a few minutes.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.STORAGE_UNAVAILABLE,
    ),
    state(
        "failed_result_storage_denied",
        "Could not be stored",
        "The image storage denied access to this service. Images that were made may still be charged. "
        "The operator of this service has to fix that; then try again.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.STORAGE_DENIED,
    ),
    state(
        "failed_result_unseen",
        "Could not be checked",
        "Your images have arrived, but could not be checked. They are kept, and may still be charged. "
        "Try again in a few minutes.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.SERVICE_UNAVAILABLE,
    ),
    state(
        "failed_interrupted",
        "Interrupted",
        "Work on your images was interrupted. What was started may still be charged. Try again.",
        actions=_RETRY,
        stage="generating",
        reason=Reason.WORKER_LOST,
    ),
    # Failures after generation.
    state(
        "failed_storage_denied",
        "Could not be saved",
        "Your images are made, but the storage denied access to this service. The operator has to fix that; "
        "then try again. Images that are made are not charged again.",
        actions=_RETRY,
        stage="uploading",
        reason=Reason.STORAGE_DENIED,
    ),
    state(
        "failed_storage",
        "Could not be saved",
        "Your images are made, but could not be saved. Try again; images that are made are not charged again.",
        actions=_RETRY,
        stage="uploading",
    ),
    state(
        "failed_recording",
        "Could not be recorded",
        "Your images were made and may have been charged, but were not saved correctly. Try again; "
        "if that does not help, submit a new request.",
        actions=_RETRY,
        stage="persisting",
    ),
    # All other failures: of the provider, or of a kind that only a newer version of a service knows.
    state(
        "failed_waiting",
        "Waited too long",
        "The provider was busy or unavailable for too long. Try again later.",
        actions=_RETRY,
        stage="queued",
    ),
    state(
        "failed_rate_limit",
        "Too busy",
        "The provider accepts no more requests right now. Try again later.",
        tone="warning",
        actions=_RETRY,
        code=Code.RATE_LIMIT,
    ),
    state(
        "failed_timeout",
        "Took too long",
        "Your images were not finished in time. Work that was started may still be charged. Try again.",
        actions=_RETRY,
        code=Code.TIMEOUT,
    ),
    state(
        "failed_temporary",
        "Provider is unavailable",
        "The provider could not be reached, or could not finish this time. Try again in a few minutes.",
        actions=_RETRY,
        reason=Reason.PROVIDER_UNAVAILABLE,
    ),
    state(
        "failed_request",
        "Cannot be made",
        "The provider does not support this request. Change it and submit a new request.",
        tone="warning",
        code=Code.PERMANENT,
    ),
    state(
        "failed_unclassified",
        "Response not understood",
        "The provider returned a response that this service does not understand. "
        "The images may still be charged. Try again.",
        actions=_RETRY,
        code=Code.UNKNOWN,
        reason=Reason.UNCLASSIFIED,
    ),
    state(
        "failed",
        "Something went wrong",
        "Your images could not be made. Work that was started may still be charged. Try again.",
        actions=_RETRY,
    ),
)
