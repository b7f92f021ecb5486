"""Codes and reasons of failures and refusals, which every service, the gateway and the client share.

They are the names of `calotype.error.v1.Code` and `Reason` without their prefix: the domains use them without protobuf.
The gateway's table of HTTP statuses is `gateway/problems/reasons.py`; docs/errors.md says what to do about each reason.
"""

from enum import StrEnum


class Code(StrEnum):
    """Class of a failure; `services/job/domain/retry_policy.py` decides by it how often a job is tried again."""

    #: Likely to pass by itself.
    TEMPORARY = "TEMPORARY"
    #: A limit was reached: the provider's own, one configured for the provider, or the caller's quota.
    RATE_LIMIT = "RATE_LIMIT"
    #: Took longer than allowed, or the outcome is lost.
    TIMEOUT = "TIMEOUT"
    #: A credential was refused.
    AUTH_ERROR = "AUTH_ERROR"
    #: Another try would fail in the same way.
    PERMANENT = "PERMANENT"
    #: Not classified.
    UNKNOWN = "UNKNOWN"


class Reason(StrEnum):
    """Why a job failed or a request was refused, within a code.

    Databases, messages and gRPC errors may hold a reason of a newer or older version, or the name of a gRPC status.
    `Reason(text)` makes a value of it that is no member, keeps the text, and equals it. It raises `ValueError` only
    for what is no text.
    """

    # TEMPORARY

    #: The provider is unavailable, or refused the connection. From the generator.
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    #: The worker's lease ran out before its job was done. From job-service's stale-job monitor.
    WORKER_LOST = "WORKER_LOST"
    #: The object store could not be reached. From generator, uploader and gateway.
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    #: An image could not be fetched from its URL. From the generator.
    FETCH_FAILED = "FETCH_FAILED"
    #: A service is starting, stopping, overloaded or without its database. From all services.
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"

    # RATE_LIMIT

    #: The provider limits the rate of requests. From the generator.
    PROVIDER_RATE_LIMIT = "PROVIDER_RATE_LIMIT"
    #: The tenant's quota is used up for now. From job-service.
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    #: A limit that is configured for the provider is reached. From job-service; the generator defers the job.
    PROVIDER_BUSY = "PROVIDER_BUSY"

    # TIMEOUT

    #: The provider exceeded its time limit. From the generator.
    PROVIDER_TIMEOUT = "PROVIDER_TIMEOUT"
    #: A paid request was sent and its outcome is unknown; another could pay twice. From the generator.
    AMBIGUOUS_OUTCOME = "AMBIGUOUS_OUTCOME"
    #: A paid result can no longer be fetched. From the generator.
    RESULT_LOST = "RESULT_LOST"
    #: The job passed its caller's deadline, or the longest time in the queue. From job-service and generator.
    #: The client has it for a watch that its caller has limited.
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    #: A stage took longer than its limit. From job-service's stale-job monitor and the generator.
    STAGE_TIMEOUT = "STAGE_TIMEOUT"
    #: The provider canceled the operation. From the generator.
    PROVIDER_CANCELED = "PROVIDER_CANCELED"

    # AUTH_ERROR

    #: The provider refused the configured credential. From the generator.
    PROVIDER_AUTH = "PROVIDER_AUTH"
    #: The caller sent no valid credential. From the gateway and every gRPC server.
    UNAUTHENTICATED = "UNAUTHENTICATED"
    #: The caller's credential does not allow this. From the gateway and every gRPC server.
    PERMISSION_DENIED = "PERMISSION_DENIED"
    #: The object store refused the service's credential. From generator and uploader.
    STORAGE_DENIED = "STORAGE_DENIED"

    # PERMANENT, of a job or a request

    #: A field is invalid. From the gateway, every gRPC server, and the generator for a provider that refuses a field.
    INVALID_INPUT = "INVALID_INPUT"
    #: The provider's content policy refused the prompt, an input or the result. From the generator.
    CONTENT_POLICY = "CONTENT_POLICY"
    #: The provider or model does not support the request. From job-service and generator.
    UNSUPPORTED = "UNSUPPORTED"
    #: The account at the provider is out of credit or quota. From the generator.
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    #: The provider returned no image that decodes. From the generator.
    INVALID_IMAGE = "INVALID_IMAGE"
    #: The URL may not be fetched: private, not http or https, or redirected to such. From the generator.
    FORBIDDEN_ADDRESS = "FORBIDDEN_ADDRESS"
    #: A body, an image or its number of pixels is over the limit. From gateway, job-service and generator.
    TOO_LARGE = "TOO_LARGE"
    #: The provider does not know the configured model or address. From the generator.
    PROVIDER_REJECTED = "PROVIDER_REJECTED"
    #: Staged objects and the reported result differ. From all services that read them.
    RESULT_MISMATCH = "RESULT_MISMATCH"
    #: The tenant's budget for the day or month does not cover the call. From job-service.
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"

    # PERMANENT, of the API

    #: No such job, or another tenant's. From job-service and gateway.
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    #: The job's state does not allow this. From job-service.
    WRONG_STATE = "WRONG_STATE"
    #: The idempotency key was used with another body. From job-service.
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    #: The outcome of a paid call is unknown, and there is no consent to pay again. From job-service.
    CONSENT_REQUIRED = "CONSENT_REQUIRED"
    #: The job of the idempotency key was deleted. From job-service.
    JOB_DELETED = "JOB_DELETED"
    #: The job has another sequence than the caller named. From job-service.
    SEQUENCE_CHANGED = "SEQUENCE_CHANGED"
    #: No such provider, or none that the tenant may use. From job-service and generator.
    PROVIDER_NOT_FOUND = "PROVIDER_NOT_FOUND"
    #: The body is not what its content type says. From the gateway.
    MALFORMED = "MALFORMED"
    #: The content type is not accepted. From the gateway.
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    #: No such path, method or dead letter. From the gateway and every gRPC server.
    NOT_FOUND = "NOT_FOUND"

    # PERMANENT, of the worker API

    #: The worker no longer holds the job. From job-service.
    LEASE_LOST = "LEASE_LOST"
    #: Another call already covers one of the images. From job-service.
    ALREADY_BOUGHT = "ALREADY_BOUGHT"
    #: No such provider call. From job-service.
    CALL_NOT_FOUND = "CALL_NOT_FOUND"

    # UNKNOWN

    #: The provider's response matches no rule. From the generator; also stands for a reason that a reader cannot name.
    UNCLASSIFIED = "UNCLASSIFIED"
    #: A defect of the service. From all services.
    INTERNAL = "INTERNAL"

    # PERMANENT, of a warning

    #: Input images were sent to the provider without their metadata. From the generator.
    METADATA_REMOVED = "METADATA_REMOVED"

    @classmethod
    def _missing_(cls, value: object) -> "Reason | None":
        if not isinstance(value, str):
            return None
        other = str.__new__(cls, value)
        other._name_ = other._value_ = str(value)
        return other

    def __reduce_ex__(self, protocol: object) -> "tuple[type[Reason], tuple[str]]":
        # Early releases of Python 3.11 pickle and copy by name, which only members can be found by.
        return Reason, (self._value_,)
