"""The reasons of `calotype.error.v1`, as HTTP answers and people get to know them: one table."""

from dataclasses import dataclass

from gateway.schemas.jobs import Code

NOTHING_HELPS = "Asking again in the same way will not help."
ASK_AGAIN = "Ask again; it should pass by itself."


@dataclass(frozen=True, kw_only=True)
class ReasonEntry:
    """What a reason means: its code, the HTTP status of an answer that carries it, and what to do."""

    code: Code
    status: int
    title: str
    advice: str

    @property
    def retryable(self) -> bool:
        """Whether the same call can succeed later."""
        return self.code in ("TEMPORARY", "RATE_LIMIT", "TIMEOUT")


def _entries(code: Code, *rows: tuple[str, int, str, str]) -> dict[str, ReasonEntry]:
    return {
        reason: ReasonEntry(code=code, status=status, title=title, advice=advice)
        for reason, status, title, advice in rows
    }


REASONS: dict[str, ReasonEntry] = {
    **_entries(
        "TEMPORARY",
        ("PROVIDER_UNAVAILABLE", 503, "The provider is away", ASK_AGAIN),
        ("WORKER_LOST", 503, "The worker vanished", ASK_AGAIN),
        ("STORAGE_UNAVAILABLE", 503, "The object store is away", ASK_AGAIN),
        ("FETCH_FAILED", 503, "A picture could not be fetched", "Check that the address serves the picture."),
        ("SERVICE_UNAVAILABLE", 503, "The service is away", "Ask again after the time in Retry-After."),
    ),
    **_entries(
        "RATE_LIMIT",
        ("PROVIDER_RATE_LIMIT", 429, "The provider asks to slow down", "Try again later."),
        ("PROVIDER_BUSY", 429, "The provider's limit is used up", "Wait; the job goes on when its turn comes."),
        ("QUOTA_EXCEEDED", 429, "Your quota is spent for now", "Ask again after the time in Retry-After."),
    ),
    **_entries(
        "TIMEOUT",
        (
            "PROVIDER_TIMEOUT",
            504,
            "The provider was too slow",
            "Try again; what it had begun is taken up, not bought anew.",
        ),
        ("AMBIGUOUS_OUTCOME", 504, "It is unknown what the provider did", "A retry may be charged twice."),
        ("RESULT_LOST", 504, "A paid result can no longer be fetched", "A retry may be charged twice."),
        ("DEADLINE_EXCEEDED", 504, "The job's deadline passed", "Give the job more time."),
        ("PROVIDER_CANCELED", 504, "The provider stopped it", "Try again."),
        ("STAGE_TIMEOUT", 504, "A stage took too long", "Try again."),
    ),
    **_entries(
        "AUTH_ERROR",
        ("PROVIDER_AUTH", 502, "The provider refused our credential", "The operator must renew the provider's key."),
        ("UNAUTHENTICATED", 401, "No valid key", "Send `Authorization: Bearer KEY` with a key of this service."),
        ("PERMISSION_DENIED", 403, "Not allowed", "Use a key that may do this."),
        ("STORAGE_DENIED", 502, "The object store refused us", "The operator must grant access to the bucket."),
    ),
    **_entries(
        "PERMANENT",
        ("INVALID_INPUT", 422, "A field is wrong", "Correct the fields named in `errors`."),
        ("CONTENT_POLICY", 422, "Refused by policy", "Change the prompt or the input pictures."),
        ("UNSUPPORTED", 422, "The provider cannot do this", "Choose another provider or model."),
        ("QUOTA_EXHAUSTED", 402, "The provider's account is out of credit", "The operator must top it up."),
        ("BUDGET_EXHAUSTED", 402, "The budget is used up", "Ask again when the next day or month begins (UTC)."),
        ("INVALID_IMAGE", 422, "Not a picture that decodes", NOTHING_HELPS),
        ("FORBIDDEN_ADDRESS", 422, "An address that may not be fetched", "Use a public http or https address."),
        ("TOO_LARGE", 413, "Too large", "Send less."),
        ("PROVIDER_REJECTED", 422, "The provider does not know this", "Check model and address of the provider."),
        ("RESULT_MISMATCH", 500, "The result does not match what was stated", NOTHING_HELPS),
        ("JOB_NOT_FOUND", 404, "No such job", "Check the id and the key that you use."),
        ("WRONG_STATE", 409, "The job's state does not allow this", "Look at the job's status first."),
        ("IDEMPOTENCY_KEY_REUSED", 422, "The Idempotency-Key was used with another body", "Use a new key."),
        ("CONSENT_REQUIRED", 409, "Consent is needed", 'Say `"on_ambiguous": "retry"` if paying again is fine.'),
        ("JOB_DELETED", 410, "The job was deleted", "Use a new Idempotency-Key to make another."),
        ("SEQUENCE_CHANGED", 409, "The job has changed", "Read it again and decide anew."),
        ("PROVIDER_NOT_FOUND", 422, "No such provider", "GET /v1/providers lists them."),
        ("MALFORMED", 400, "Not what was expected", "Send a JSON object in UTF-8."),
        ("UNSUPPORTED_MEDIA_TYPE", 415, "Wrong content type", "Send `Content-Type: application/json`."),
        ("LEASE_LOST", 409, "The lease is lost", NOTHING_HELPS),
        ("ALREADY_BOUGHT", 409, "Already bought", NOTHING_HELPS),
        ("CALL_NOT_FOUND", 404, "No such provider call", NOTHING_HELPS),
        ("NOT_FOUND", 404, "No such page or method", "GET /docs lists what there is."),
        ("METADATA_REMOVED", 422, "Input images were sent without their metadata", NOTHING_HELPS),
    ),
    **_entries(
        "UNKNOWN",
        ("UNCLASSIFIED", 500, "An answer that nobody knows", "The attempt keeps the evidence."),
        ("INTERNAL", 500, "A defect of the service", "Tell the operator the request id."),
    ),
}


def slug(reason: str) -> str:
    """A reason as it stands in addresses."""
    return reason.lower().replace("_", "-")


def entry(reason: str) -> ReasonEntry:
    """What a reason means; one of a newer sender counts as unclassified."""
    return REASONS.get(reason, REASONS["UNCLASSIFIED"])
