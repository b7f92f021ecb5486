"""All conditions of a job for which `display` must have texts; a test compares them with the services' code."""

from collections.abc import Mapping
from typing import get_args

from calotype.error_reasons import Reason

from gateway.problems.reasons import REASONS
from gateway.schemas.jobs import ProviderCancel, Stage, Status, WaitReason
from gateway.views.display import JobCondition

#: With what a job can fail, by the stage that it says.
FAILURES: Mapping[Stage, frozenset[Reason]] = {
    "queued": frozenset(
        {
            "DEADLINE_EXCEEDED",
            # A limit only ever defers a job; it is the reason when the job has waited for too long.
            "PROVIDER_BUSY",
            # The causes of open breakers.
            Reason.PROVIDER_AUTH,
            Reason.PROVIDER_TIMEOUT,
            Reason.PROVIDER_UNAVAILABLE,
        }
    ),
    "processing": frozenset(
        {
            "DEADLINE_EXCEEDED",
            "FETCH_FAILED",
            "FORBIDDEN_ADDRESS",
            # Never INVALID_IMAGE: an invalid input image is an error of the request.
            "INVALID_INPUT",
            # Of a call that was to begin: the API refuses a job for an unknown provider, this one has gone since.
            Reason.PROVIDER_NOT_FOUND,
            Reason.SERVICE_UNAVAILABLE,
            Reason.STAGE_TIMEOUT,
            Reason.TOO_LARGE,
            # Of a call that was to begin: the provider's file has changed since, and it would drop a field of the job.
            Reason.UNSUPPORTED,
            Reason.WORKER_LOST,
        }
    ),
    "generating": frozenset(
        {
            Reason.AMBIGUOUS_OUTCOME,
            # Before a call; the job may have made others.
            Reason.BUDGET_EXHAUSTED,
            Reason.CONTENT_POLICY,
            Reason.DEADLINE_EXCEEDED,
            Reason.FETCH_FAILED,
            Reason.FORBIDDEN_ADDRESS,
            # Also a defect before anything was sent: it does not know how far it got.
            Reason.INTERNAL,
            Reason.INVALID_IMAGE,
            Reason.INVALID_INPUT,
            Reason.PROVIDER_AUTH,
            Reason.PROVIDER_CANCELED,
            Reason.PROVIDER_RATE_LIMIT,
            Reason.PROVIDER_REJECTED,
            Reason.PROVIDER_TIMEOUT,
            Reason.PROVIDER_UNAVAILABLE,
            Reason.QUOTA_EXHAUSTED,
            Reason.RESULT_LOST,
            # Fewer pictures than were bought, or staging holds another's.
            Reason.RESULT_MISMATCH,
            # Images came, and no process to decode them with could be started.
            Reason.SERVICE_UNAVAILABLE,
            Reason.STAGE_TIMEOUT,
            # Of staging, not of the public bucket; perhaps before anything was sent, as staging is looked at first.
            Reason.STORAGE_DENIED,
            Reason.STORAGE_UNAVAILABLE,
            Reason.TOO_LARGE,
            Reason.UNCLASSIFIED,
            Reason.UNSUPPORTED,
            Reason.WORKER_LOST,
        }
    ),
    "uploading": frozenset(
        {Reason.STAGE_TIMEOUT, Reason.STORAGE_DENIED, Reason.STORAGE_UNAVAILABLE, Reason.WORKER_LOST}
    ),
    "persisting": frozenset({Reason.RESULT_MISMATCH}),
}
#: Statuses of which nothing more is known; only a completed job shows images, so they are missing until then.
_UNDER_WAY: tuple[Status, ...] = ("queued", "processing", "generating", "uploading")


def failed() -> list[JobCondition]:
    """Returns every way to have failed. Whether a retry needs consent depends on the ledger, not on the failure."""
    return [
        JobCondition(
            status="failed",
            failure_stage=stage,
            code=REASONS[reason].code,
            reason=reason,
            images_missing=True,
            retry_needs_consent=consent,
        )
        for stage, reasons in FAILURES.items()
        for reason in sorted(reasons)
        for consent in (False, True)
    ]


def job_conditions() -> list[JobCondition]:
    """Returns every possible condition. The database allows a failure only for a failed job, a cancellation only for a
    canceled one.
    """
    return [
        *(JobCondition(status=status, images_missing=True) for status in _UNDER_WAY),
        *(JobCondition(status="queued", images_missing=True, wait=wait) for wait in get_args(WaitReason)),
        *(JobCondition(status="completed", images_missing=missing) for missing in (False, True)),
        *(
            JobCondition(status="canceled", provider_cancel=cancel, images_missing=True)
            for cancel in get_args(ProviderCancel)
        ),
        *failed(),
    ]
