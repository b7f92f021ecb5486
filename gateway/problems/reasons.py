"""The reasons of `calotype.error.v1` in one table: HTTP status, title and advice for each."""

from dataclasses import dataclass
from enum import StrEnum

from calotype.error_reasons import Code, Reason

NO_RETRY = "Repeating the same request will not help."
RETRY_LATER = "Try again in a moment; this usually passes without any change."
RETRY_AFTER = "Send the request again after the number of seconds in the Retry-After header."
MAY_PAY_TWICE = 'Retry with `"on_ambiguous": "retry"` only if you accept that the images may be charged twice.'


class OpenAIReason(StrEnum):
    """Reasons that only the OpenAI paths have; clients see their codes in `gateway/openai_images/errors.py`."""

    #: The job takes longer than a request is held.
    STILL_RUNNING = "STILL_RUNNING"
    #: The job was canceled, so that the request has no images.
    JOB_CANCELED = "JOB_CANCELED"
    #: No such model.
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"


@dataclass(frozen=True, kw_only=True)
class ReasonEntry:
    """What the API says about one reason."""

    code: Code
    """Class of the error; it decides whether a retry can help."""
    status: int
    """HTTP status of a response that carries this reason."""
    title: str
    """Short summary for people, the same for every occurrence."""
    advice: str
    """What the caller, or the operator, can do about it."""

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later."""
        return self.code in (Code.TEMPORARY, Code.RATE_LIMIT, Code.TIMEOUT)


def _entries(code: Code, *rows: tuple[Reason, int, str, str]) -> dict[Reason, ReasonEntry]:
    return {
        reason: ReasonEntry(code=code, status=status, title=title, advice=advice)
        for reason, status, title, advice in rows
    }


REASONS: dict[Reason, ReasonEntry] = {
    **_entries(
        Code.TEMPORARY,
        (Reason.PROVIDER_UNAVAILABLE, 503, "The provider is unavailable", RETRY_LATER),
        (Reason.WORKER_LOST, 503, "The worker stopped before the job was finished", RETRY_LATER),
        (Reason.STORAGE_UNAVAILABLE, 503, "The image storage is unavailable", RETRY_LATER),
        (
            Reason.FETCH_FAILED,
            503,
            "An image could not be downloaded",
            "Check that the URL of the image can be reached and serves the image, then try again.",
        ),
        (Reason.SERVICE_UNAVAILABLE, 503, "The service is unavailable", RETRY_AFTER),
    ),
    **_entries(
        Code.RATE_LIMIT,
        (Reason.PROVIDER_RATE_LIMIT, 429, "The provider's rate limit is reached", "Try again later."),
        (
            Reason.PROVIDER_BUSY,
            429,
            "The limit that is configured for the provider is reached",
            "Wait: the job stays in the queue and starts when the provider has capacity again.",
        ),
        (Reason.QUOTA_EXCEEDED, 429, "Your quota is used up for now", RETRY_AFTER),
    ),
    **_entries(
        Code.TIMEOUT,
        (
            Reason.PROVIDER_TIMEOUT,
            504,
            "The provider took too long",
            "Try again: work that the provider has already started is continued, not bought again.",
        ),
        (Reason.AMBIGUOUS_OUTCOME, 504, "It is unknown whether the provider made the images", MAY_PAY_TWICE),
        (Reason.RESULT_LOST, 504, "Paid images can no longer be downloaded", MAY_PAY_TWICE),
        (
            Reason.DEADLINE_EXCEEDED,
            504,
            "The job's deadline passed",
            "Allow more time: raise `start_within_seconds` or `finish_within_seconds`, or leave them out.",
        ),
        (Reason.PROVIDER_CANCELED, 504, "The provider canceled the generation", "Try again."),
        (Reason.STAGE_TIMEOUT, 504, "A stage of the job took too long", "Try again."),
    ),
    **_entries(
        Code.AUTH_ERROR,
        (
            Reason.PROVIDER_AUTH,
            502,
            "The provider rejected the credentials of this service",
            "Tell the operator: the provider's API key must be renewed.",
        ),
        (
            Reason.UNAUTHENTICATED,
            401,
            "No valid API key",
            "Send `Authorization: Bearer KEY` with an API key of this service.",
        ),
        (
            Reason.PERMISSION_DENIED,
            403,
            "This key or token does not allow the request",
            "Use a key or token that has the permission.",
        ),
        (
            Reason.STORAGE_DENIED,
            502,
            "The image storage denied access to this service",
            "Tell the operator: this service needs access to the storage bucket.",
        ),
    ),
    **_entries(
        Code.PERMANENT,
        (Reason.INVALID_INPUT, 422, "A field is invalid", "Correct the fields listed in `errors`."),
        (Reason.CONTENT_POLICY, 422, "Refused by a content policy", "Change the prompt or the input images."),
        (
            Reason.UNSUPPORTED,
            422,
            "The provider does not support this request",
            "Choose another provider or model; GET /v1/providers lists what each of them supports.",
        ),
        (
            Reason.QUOTA_EXHAUSTED,
            402,
            "The account at the provider is out of credit",
            "Tell the operator: the account at the provider needs more credit or quota.",
        ),
        (Reason.BUDGET_EXHAUSTED, 402, "Your budget is used up", "Try again when the next day or month begins (UTC)."),
        (Reason.INVALID_IMAGE, 422, "The result is not a valid image", NO_RETRY),
        (Reason.FORBIDDEN_ADDRESS, 422, "This URL may not be fetched", "Use a public http or https URL."),
        (Reason.TOO_LARGE, 413, "Too large", "Send a smaller request, or smaller images."),
        (
            Reason.PROVIDER_REJECTED,
            422,
            "The provider does not know the model or the address",
            "Choose another model, or ask the operator to check the provider's configuration.",
        ),
        (Reason.RESULT_MISMATCH, 500, "The stored images do not match the reported result", NO_RETRY),
        (
            Reason.JOB_NOT_FOUND,
            404,
            "Job not found",
            "Check the job id, and that your key belongs to the tenant that created the job.",
        ),
        (
            Reason.WRONG_STATE,
            409,
            "The current state does not allow this",
            "Check the `status` of the job: unfinished jobs can be canceled, failed jobs retried, final jobs deleted. "
            "A delivery can be sent again unless it is pending or its webhook is disabled.",
        ),
        (
            Reason.IDEMPOTENCY_KEY_REUSED,
            422,
            "The Idempotency-Key was already used with a different body",
            "Use a new Idempotency-Key for a different request.",
        ),
        (
            Reason.CONSENT_REQUIRED,
            409,
            "Your consent is required",
            'Send `"on_ambiguous": "retry"` if you accept that the images may be charged a second time.',
        ),
        (Reason.JOB_DELETED, 410, "The job was deleted", "Use a new Idempotency-Key to create another job."),
        (
            Reason.SEQUENCE_CHANGED,
            409,
            "The job has changed since you read it",
            "Read the job again, then decide on its new state.",
        ),
        (Reason.PROVIDER_NOT_FOUND, 422, "No such provider", "Use a provider that GET /v1/providers lists."),
        (
            Reason.MALFORMED,
            400,
            "The request cannot be read",
            "Send a JSON object in UTF-8, or a multipart form to /v1/images/edits.",
        ),
        (
            Reason.UNSUPPORTED_MEDIA_TYPE,
            415,
            "Wrong Content-Type",
            "Send `Content-Type: application/json`, or `multipart/form-data` to /v1/images/edits.",
        ),
        (Reason.LEASE_LOST, 409, "The worker no longer holds the job", NO_RETRY),
        (Reason.ALREADY_BOUGHT, 409, "The images were already bought", NO_RETRY),
        (Reason.CALL_NOT_FOUND, 404, "No such provider call", NO_RETRY),
        (
            Reason.NOT_FOUND,
            404,
            "Not found",
            "Check the path and its ids, and that your key belongs to their tenant; GET /docs lists every call.",
        ),
        (
            Reason.METADATA_REMOVED,
            422,
            "Input images were sent without their metadata",
            "This is a warning; nothing needs to be done.",
        ),
    ),
    **_entries(
        Code.UNKNOWN,
        (
            Reason.UNCLASSIFIED,
            500,
            "The provider's response is not understood",
            "GET /v1/jobs/{id}/attempts shows what the provider returned, in `provider_error`.",
        ),
        (Reason.INTERNAL, 500, "Internal error", "Report the request id to the operator."),
    ),
}


def slug(reason: Reason | OpenAIReason) -> str:
    """Returns the reason as it is written in URLs: `JOB_NOT_FOUND` as `job-not-found`."""
    return reason.lower().replace("_", "-")


def entry(reason: Reason | OpenAIReason) -> ReasonEntry:
    """Returns the entry of a reason; a reason of a newer service that is unknown here counts as UNCLASSIFIED."""
    return REASONS.get(Reason(reason), REASONS[Reason.UNCLASSIFIED])
