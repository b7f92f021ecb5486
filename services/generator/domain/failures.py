"""What ends a claim without its result, as people are told of it."""

from collections.abc import Sequence

from services.generator.domain.jobs import Phase
from services.generator.domain.provider_results import Acceptance, ProviderError, StageError

#: What came is of no use, unless asking again may help.
_UNUSABLE = frozenset({"FETCH_FAILED", "INVALID_IMAGE", "TOO_LARGE", "RESULT_MISMATCH"})

#: Said by job-service before anything was asked for; another route may be there, or cost less.
_OF_THIS_ROUTE = frozenset({"PROVIDER_NOT_FOUND", "BUDGET_EXHAUSTED"})


def phase_after(error: ProviderError) -> Phase:
    """How a call stands in the ledger after an error that says for certain how it ended."""
    if error.acceptance is Acceptance.NOT_ACCEPTED:
        return Phase.NOT_SENT
    match error.reason:
        case "CONTENT_POLICY":
            return Phase.REFUSED
        case "PROVIDER_CANCELED":
            return Phase.CANCELED
        case "RESULT_LOST" | "UNCLASSIFIED":
            # It may have been charged, and nothing of it can be had.
            return Phase.UNKNOWN
        case _:
            return Phase.FAILED


def result_is_useless(error: StageError) -> bool:
    """Whether what a call brought is gone or will never do, though the call itself was fine."""
    return error.reason == "RESULT_LOST" or (error.reason in _UNUSABLE and not error.retryable)


def spares_others(error: StageError, *, some_staged: bool) -> bool:
    """Whether a failure says nothing about the job's other images, so that they are worth a call.

    A refusal may be the prompt's fault, unless the same prompt has brought an image already.
    """
    return result_is_useless(error) or (error.reason == "CONTENT_POLICY" and some_staged)


def may_fall_back(error: StageError, *, free: bool, on_refusal: bool) -> bool:
    """Whether another provider may be asked: this one surely sold nothing, and the fault is not the request's own."""
    if error.reason in ("PROVIDER_NOT_FOUND", "BUDGET_EXHAUSTED") or (
        error.reason == "UNSUPPORTED" and error.stage == "PROCESSING"
    ):
        return True
    if not isinstance(error, ProviderError) or (error.acceptance is Acceptance.UNKNOWN and not free):
        return False
    if error.reason == "CONTENT_POLICY":
        return on_refusal
    return error.reason != "INVALID_INPUT" and phase_after(error) is not Phase.UNKNOWN


def most_hopeful(errors: Sequence[StageError]) -> StageError:
    """Of the failures of all providers the one that says most of what another try may bring."""
    return next((error for error in errors if error.retryable), errors[-1])


def provider_busy(provider: str, *, retry_after_seconds: float | None) -> StageError:
    """A limit that is configured for the provider is used up."""
    return StageError(
        stage="PROCESSING",
        code="RATE_LIMIT",
        reason="PROVIDER_BUSY",
        message=f"{provider} has as much to do as it may.",
        retryable=True,
        retry_after_seconds=retry_after_seconds,
        deferred=True,
    )


def budget_exhausted(message: str, *, retry_after_seconds: float | None) -> StageError:
    """The tenant's budget does not cover the call, which was not made."""
    return StageError(
        code="PERMANENT",
        reason="BUDGET_EXHAUSTED",
        message=message,
        retryable=False,
        retry_after_seconds=retry_after_seconds,
    )


def provider_not_configured(provider: str) -> StageError:
    """The job names a provider that this process does not know any more."""
    return StageError(
        stage="PROCESSING",
        code="PERMANENT",
        reason="PROVIDER_NOT_FOUND",
        message=f"The provider {provider} is no longer configured.",
        retryable=False,
    )


def would_lose(message: str) -> StageError:
    """The provider's file has changed: it would drop a field that the job names."""
    return StageError(stage="PROCESSING", code="PERMANENT", reason="UNSUPPORTED", message=message, retryable=False)


def ask_refused() -> StageError:
    """job-service refused what this worker thought was allowed: one of the two has a defect."""
    return StageError(
        code="UNKNOWN",
        reason="INTERNAL",
        message="The job store refused the call, so it was not made.",
        retryable=True,
    )


def input_unavailable() -> StageError:
    """An input image that came as bytes could not be read back."""
    return StageError(
        stage="PROCESSING",
        code="TEMPORARY",
        reason="SERVICE_UNAVAILABLE",
        message="An input image could not be read from the job store.",
        retryable=True,
    )


def inputs_too_large(most_bytes: int) -> StageError:
    """The input images together are more than any provider is sent."""
    return StageError(
        stage="PROCESSING",
        code="PERMANENT",
        reason="TOO_LARGE",
        message=f"The input images are larger than {most_bytes // (1024 * 1024)} MiB together.",
        retryable=False,
    )


def ambiguous(provider: str, *, retryable: bool = False) -> StageError:
    """A paid request left and nobody knows what became of it."""
    return StageError(
        code="TIMEOUT",
        reason="AMBIGUOUS_OUTCOME",
        message=f"{provider} may have carried out and charged this request; it is not repeated unless you say so.",
        retryable=retryable,
    )


def stage_too_long(*, is_generating: bool) -> StageError:
    """The claim has used up its time."""
    return StageError(
        stage="GENERATING" if is_generating else "PROCESSING",
        code="TIMEOUT",
        reason="STAGE_TIMEOUT",
        message=f"{'Generating' if is_generating else 'Preparing the call'} took longer than it may.",
        retryable=True,
    )


def out_of_time() -> StageError:
    """The caller wanted the job to be finished by now."""
    return StageError(
        code="TIMEOUT",
        reason="DEADLINE_EXCEEDED",
        message="The job could not be finished in the time that it was given.",
        retryable=True,
    )


def result_lost(provider: str) -> StageError:
    """A paid result existed and cannot be fetched any more."""
    return StageError(
        code="TIMEOUT",
        reason="RESULT_LOST",
        message=f"{provider} made this picture, but its result can no longer be fetched; a retry pays again.",
        retryable=False,
    )


def asked_too_slowly() -> StageError:
    """The permission to send came so late that the lease may be over."""
    return StageError(
        stage="PROCESSING",
        code="TEMPORARY",
        reason="SERVICE_UNAVAILABLE",
        message="It took too long to write the call down, so it was not made.",
        retryable=True,
    )


def no_answer(provider: str) -> ProviderError:
    """The provider took the request, perhaps, and said nothing in time."""
    return ProviderError(
        code="TIMEOUT",
        reason="PROVIDER_TIMEOUT",
        message=f"{provider} did not answer in time.",
        retryable=True,
        acceptance=Acceptance.UNKNOWN,
    )


def too_slow(provider: str) -> StageError:
    """An operation goes on for longer than the claim may wait."""
    # Retryable: the operation is followed on by the next claim, not bought again.
    return StageError(
        code="TIMEOUT",
        reason="PROVIDER_TIMEOUT",
        message=f"{provider} did not finish in time.",
        retryable=True,
    )


def with_raw(error: StageError, *, name: str | None) -> StageError:
    """A failure whose result is kept as it came, under this name in staging."""
    if name is not None:
        error.message = f"{error.message} What came is kept in staging as {name}."
    return error


def too_few(provider: str) -> StageError:
    """The provider made less than was bought."""
    return StageError(
        code="PERMANENT",
        reason="RESULT_MISMATCH",
        message=f"{provider} returned fewer images than were asked for.",
        retryable=False,
    )


def storage_away() -> StageError:
    """Staging did not answer for the whole of the stage."""
    return StageError(
        code="TEMPORARY",
        reason="STORAGE_UNAVAILABLE",
        message="The picture could not be kept: the image store was away for the whole of the stage.",
        retryable=True,
    )


def staging_differs() -> StageError:
    """Staging holds something else under the image's name, and it is none of ours."""
    return StageError(
        code="PERMANENT",
        reason="RESULT_MISMATCH",
        message="Staging holds another object under the picture's name.",
        retryable=False,
    )


def storage_denied() -> StageError:
    """Staging refuses the generator."""
    return StageError(
        code="AUTH_ERROR",
        reason="STORAGE_DENIED",
        message="The image store refuses the service's credential; its operator must mend that, then retry.",
        retryable=False,
    )


def adapter_broke(provider: str) -> ProviderError:
    """A defect on this side, after the call was written down: whether anything left is not known."""
    return ProviderError(
        code="UNKNOWN",
        reason="INTERNAL",
        message=f"Something went wrong while {provider} was asked.",
        retryable=True,
        acceptance=Acceptance.UNKNOWN,
    )


def defect() -> StageError:
    """A defect on this side, before anything was sent or after everything came."""
    return StageError(
        code="UNKNOWN",
        reason="INTERNAL",
        message="Something went wrong while this job was worked on.",
        retryable=True,
    )
