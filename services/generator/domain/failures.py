"""The errors that end a claim without its result, with their messages for people, and rules about them."""

from collections.abc import Sequence

from calotype.error_reasons import Code, Reason

from services.generator.domain.jobs import CallPhase
from services.generator.domain.provider_results import Acceptance, ProviderError, StageError

#: Reasons for which a result is unusable, unless the error is retryable.
_UNUSABLE = frozenset({Reason.FETCH_FAILED, Reason.INVALID_IMAGE, Reason.TOO_LARGE, Reason.RESULT_MISMATCH})

#: Reasons that concern one route, known before its provider was called: another may exist, or cost less.
_OF_THIS_ROUTE = frozenset({Reason.PROVIDER_NOT_FOUND, Reason.BUDGET_EXHAUSTED})


def phase_after(error: ProviderError) -> CallPhase:
    """Returns a call's phase in the ledger after an error that leaves no doubt about how the call ended."""
    if error.acceptance is Acceptance.NOT_ACCEPTED:
        return CallPhase.NOT_SENT
    match error.reason:
        case Reason.CONTENT_POLICY:
            return CallPhase.REFUSED
        case Reason.PROVIDER_CANCELED:
            return CallPhase.CANCELED
        case Reason.RESULT_LOST | Reason.UNCLASSIFIED:
            # The call may have been charged, and its result is out of reach.
            return CallPhase.UNKNOWN
        case _:
            return CallPhase.FAILED


def result_is_useless(error: StageError) -> bool:
    """Returns whether the result of a successful call is lost or unusable for good."""
    return error.reason == Reason.RESULT_LOST or (error.reason in _UNUSABLE and not error.retryable)


def spares_others(error: StageError, *, some_staged: bool) -> bool:
    """Returns whether an error leaves the job's other images unaffected, so that they are worth a call.

    A content refusal may concern the prompt of all images, unless the prompt has already produced an image.
    """
    return result_is_useless(error) or (error.reason == Reason.CONTENT_POLICY and some_staged)


def may_fall_back(error: StageError, *, free: bool, on_refusal: bool) -> bool:
    """Returns whether the job may go to its next route: this provider cannot charge, and the request is not at fault.

    `free`: calls of this provider cost nothing. `on_refusal`: also after a content refusal.
    """
    if error.reason in _OF_THIS_ROUTE or (error.reason == Reason.UNSUPPORTED and error.stage == "PROCESSING"):
        return True
    if not isinstance(error, ProviderError) or (error.acceptance is Acceptance.UNKNOWN and not free):
        return False
    if error.reason == Reason.CONTENT_POLICY:
        return on_refusal
    return error.reason != Reason.INVALID_INPUT and phase_after(error) is not CallPhase.UNKNOWN


def error_to_report(errors: Sequence[StageError]) -> StageError:
    """Returns the error that stands for the failures of all routes: the first retryable one, or else the last."""
    return next((error for error in errors if error.retryable), errors[-1])


def provider_busy(provider: str, *, retry_after_seconds: float | None) -> StageError:
    """Returns the error for a provider whose configured limit is reached."""
    return StageError(
        stage="PROCESSING",
        code=Code.RATE_LIMIT,
        reason=Reason.PROVIDER_BUSY,
        message=f"{provider} has reached its configured limit.",
        retryable=True,
        retry_after_seconds=retry_after_seconds,
        deferred=True,
    )


def budget_exhausted(message: str, *, retry_after_seconds: float | None) -> StageError:
    """Returns the error for a tenant's budget that does not cover the call; the call was not made."""
    return StageError(
        code=Code.PERMANENT,
        reason=Reason.BUDGET_EXHAUSTED,
        message=message,
        retryable=False,
        retry_after_seconds=retry_after_seconds,
    )


def provider_not_configured(provider: str) -> StageError:
    """Returns the error for a provider that this process does not know any more."""
    return StageError(
        stage="PROCESSING",
        code=Code.PERMANENT,
        reason=Reason.PROVIDER_NOT_FOUND,
        message=f"The provider {provider} is no longer configured.",
        retryable=False,
    )


def request_unsupported(message: str) -> StageError:
    """Returns the error for a request that the provider no longer supports, because its configuration has changed."""
    return StageError(
        stage="PROCESSING", code=Code.PERMANENT, reason=Reason.UNSUPPORTED, message=message, retryable=False
    )


def call_refused() -> StageError:
    """Returns the error for an unexpected refusal by job-service: one of the two services has a defect."""
    return StageError(
        code=Code.UNKNOWN,
        reason=Reason.INTERNAL,
        message="job-service refused the provider call, so it was not made.",
        retryable=True,
    )


def input_unavailable() -> StageError:
    """Returns the error for input images that could not be read from job-service, or not in time."""
    return StageError(
        stage="PROCESSING",
        code=Code.TEMPORARY,
        reason=Reason.SERVICE_UNAVAILABLE,
        message="An input image could not be read.",
        retryable=True,
    )


def inputs_too_large(max_bytes: int) -> StageError:
    """Returns the error for input images that together have more than `max_bytes`."""
    return StageError(
        stage="PROCESSING",
        code=Code.PERMANENT,
        reason=Reason.TOO_LARGE,
        message=f"Together, the input images are larger than {max_bytes // (1024 * 1024)} MiB.",
        retryable=False,
    )


def ambiguous(provider: str, *, retryable: bool = False) -> StageError:
    """Returns the error for a paid request that was sent and whose outcome is unknown."""
    return StageError(
        code=Code.TIMEOUT,
        reason=Reason.AMBIGUOUS_OUTCOME,
        message=f"{provider} may have carried out and charged this request; it is not repeated without your consent.",
        retryable=retryable,
    )


def stage_too_long(*, is_generating: bool) -> StageError:
    """Returns the error for a claim that has used up its time."""
    return StageError(
        stage="GENERATING" if is_generating else "PROCESSING",
        code=Code.TIMEOUT,
        reason=Reason.STAGE_TIMEOUT,
        message=f"{'Generating' if is_generating else 'Preparing the call'} took too long.",
        retryable=True,
    )


def out_of_time() -> StageError:
    """Returns the error for a job whose own deadline (`finish_within_seconds`) has passed.

    Nothing new is begun then; an operation is stopped if the provider can stop it.
    """
    return StageError(
        code=Code.TIMEOUT,
        reason=Reason.DEADLINE_EXCEEDED,
        message="The job's deadline passed before the job was finished.",
        retryable=True,
    )


def result_lost(provider: str) -> StageError:
    """Returns the error for a paid result that can no longer be fetched."""
    return StageError(
        code=Code.TIMEOUT,
        reason=Reason.RESULT_LOST,
        message=f"{provider} made this image, but it can no longer be fetched; a retry may be charged again.",
        retryable=False,
    )


def permission_too_late() -> StageError:
    """Returns the error for job-service's permission to send that arrived so late that the lease may have ended."""
    return StageError(
        stage="PROCESSING",
        code=Code.TEMPORARY,
        reason=Reason.SERVICE_UNAVAILABLE,
        message="It took too long to record the provider call, so it was not made.",
        retryable=True,
    )


def no_response(provider: str) -> ProviderError:
    """Returns the error for a request that got no response in time; the provider may have accepted it."""
    return ProviderError(
        code=Code.TIMEOUT,
        reason=Reason.PROVIDER_TIMEOUT,
        message=f"{provider} did not respond in time.",
        retryable=True,
        acceptance=Acceptance.UNKNOWN,
    )


def operation_too_slow(provider: str) -> StageError:
    """Returns the error for an operation that runs longer than the claim may wait."""
    # Retryable: the next claim follows the operation further, and pays nothing.
    return StageError(
        code=Code.TIMEOUT,
        reason=Reason.PROVIDER_TIMEOUT,
        message=f"{provider} did not finish in time.",
        retryable=True,
    )


def with_raw(error: StageError, *, name: str | None) -> StageError:
    """Adds to the message under which object name in staging the unusable data is kept; None: it is not kept."""
    if name is not None:
        error.message = f"{error.message} The received data is kept in staging as {name}."
    return error


def too_few_images(provider: str) -> StageError:
    """Returns the error for a result with fewer images than were requested."""
    return StageError(
        code=Code.PERMANENT,
        reason=Reason.RESULT_MISMATCH,
        message=f"{provider} returned fewer images than requested.",
        retryable=False,
    )


def storage_unavailable() -> StageError:
    """Returns the error for a staging bucket that was unavailable until the end of the stage."""
    return StageError(
        code=Code.TEMPORARY,
        reason=Reason.STORAGE_UNAVAILABLE,
        message="The image could not be stored: the image store was unavailable until the end of the stage.",
        retryable=True,
    )


def staging_differs() -> StageError:
    """Returns the error for an object with other content under the image's name, which another program wrote."""
    return StageError(
        code=Code.PERMANENT,
        reason=Reason.RESULT_MISMATCH,
        message="Staging holds another object under the image's name.",
        retryable=False,
    )


def storage_denied() -> StageError:
    """Returns the error for a staging bucket that refuses the generator's credential."""
    return StageError(
        code=Code.AUTH_ERROR,
        reason=Reason.STORAGE_DENIED,
        message="The image store refuses the service's credential; the operator must correct it, then retry.",
        retryable=False,
    )


def adapter_failed(provider: str) -> ProviderError:
    """Returns the error for a defect of the adapter after the call was recorded: it may have been sent."""
    return ProviderError(
        code=Code.UNKNOWN,
        reason=Reason.INTERNAL,
        message=f"Something went wrong while {provider} was called.",
        retryable=True,
        acceptance=Acceptance.UNKNOWN,
    )


def defect() -> StageError:
    """Returns the error for a defect of this service, before a call was sent or after its result arrived."""
    return StageError(
        code=Code.UNKNOWN,
        reason=Reason.INTERNAL,
        message="Something went wrong while this job was processed.",
        retryable=True,
    )
