"""Says in short what is wrong with a job, or what it waits for, and what an operator can do about it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from calotype.error_reasons import Code, Reason

from gateway.problems.reasons import REASONS
from gateway.schemas.any_job import JobSummaryView
from gateway.schemas.attempts import AttemptView, ProviderCallView
from gateway.schemas.jobs import ErrorView, JobView, WaitView
from gateway.schemas.webhooks import DeliveryView
from gateway.schemas.wire import rfc3339

#: What an operator can do about a wait; `{provider}` is the provider. The time of the next try is added.
_WAIT_STEPS: Mapping[str, str] = MappingProxyType(
    {
        "retry": "The job is tried again by itself.",
        "provider_limit": "Wait, or raise the limit of {provider}: max_concurrency, or the account's own limit.",
        "provider_rate": "Wait, or raise requests_per_minute of {provider} in the provider file.",
        "provider_down": "Check {provider} and the credential of it; the next probe ends the wait if it succeeds.",
        "tenant_limit": "Wait for the tenant's other jobs, or raise max_in_flight of the tenant in the keys file.",
        "no_generator": "Start a generator with {provider} in its provider file, or cancel the job.",
        "worker": "Nothing is wrong: the job takes its turn. If it stays, check that workers run and have free slots.",
        "worker_lost": "The stale-job monitor takes the job back by itself. Check why the worker stopped.",
        "paused": "An operator paused it; `calotype admin pauses` says why, and `calotype admin resume` ends it.",
    }
)
#: What an operator can do about a failed job, where that differs from the advice for the tenant.
_FAILURE_STEPS: Mapping[str, str] = MappingProxyType(
    {
        Reason.PROVIDER_AUTH: "Replace the provider's credential, restart the generator, then retry the job.",
        Reason.BUDGET_EXHAUSTED: "Raise the tenant's budget in the keys file or wait for the next period, then retry.",
        Reason.QUOTA_EXHAUSTED: "Add credit to the account at the provider, then retry the job.",
        Reason.PROVIDER_NOT_FOUND: "Add the provider to a generator's provider file, then retry the job.",
        Reason.STORAGE_DENIED: "Check the credential and the permissions of the object store, then retry the job.",
        Reason.STORAGE_UNAVAILABLE: "Check the object store, then retry the job.",
        Reason.CONTENT_POLICY: "Nothing to do here: the tenant has to change the prompt or the image.",
        Reason.AMBIGUOUS_OUTCOME: "Look the call up at the provider. "
        'A retry with "on_ambiguous": "retry" may be charged a second time.',
        Reason.WORKER_LOST: "Check why the worker stopped, then retry the job.",
    }
)
#: Statuses of a job that a worker may hold.
_AT_A_WORKER = ("processing", "generating", "uploading")
#: Attempts of a job whose current one has an earlier one.
_WITH_EARLIER = 2
_UNDELIVERED = ("pending", "failed", "held")


def summary(job: JobView, attempts: Sequence[AttemptView], deliveries: Sequence[DeliveryView]) -> JobSummaryView:
    """Returns the summary of a job; `deliveries` are empty when none is known."""
    call = _last_call(attempts)
    if job.error is not None:
        return _of_error(job.error, job.failure_stage or job.status, call, next_step=_after_failure(job.error))
    if job.wait is not None:
        return _of_wait(job, job.wait, call)
    if (failed := _failed_before(job, attempts)) is not None and failed.error is not None:
        step = f"The job is tried again by a worker now. If that fails: {_after_failure(failed.error)}"
        return _of_error(failed.error, failed.failure_stage or job.status, call, next_step=step)
    failing = next((delivery for delivery in deliveries if delivery.state in _UNDELIVERED), None)
    if failing is not None:
        return _of_delivery(failing, call)
    next_step = {
        "completed": "Nothing is wrong: the job is completed.",
        "canceled": "Nothing to do: a user canceled the job.",
    }.get(job.status, "Nothing is wrong: a worker holds the job. Its lease says until when.")
    return JobSummaryView(
        stage=job.status, code=None, reason=None, message=None, provider_call=call, next_step=next_step
    )


def _failed_before(job: JobView, attempts: Sequence[AttemptView]) -> AttemptView | None:
    """Returns the failed attempt that the current one repeats; None without one, or for a job that no worker holds."""
    if len(attempts) < _WITH_EARLIER or job.status not in _AT_A_WORKER or attempts[-1].ended_at is not None:
        return None
    return attempts[-2] if attempts[-2].stage == attempts[-1].stage else None


def _last_call(attempts: Sequence[AttemptView]) -> ProviderCallView | None:
    return next((call for attempt in reversed(attempts) for call in reversed(attempt.provider_calls)), None)


def _of_error(error: ErrorView, stage: str, call: ProviderCallView | None, *, next_step: str) -> JobSummaryView:
    return JobSummaryView(
        stage=stage,
        code=error.code,
        reason=error.reason,
        message=error.message,
        provider_call=call,
        next_step=next_step,
    )


def _after_failure(error: ErrorView) -> str:
    return _FAILURE_STEPS.get(error.reason) or REASONS[Reason(error.reason)].advice


def _of_wait(job: JobView, wait: WaitView, call: ProviderCallView | None) -> JobSummaryView:
    step = _WAIT_STEPS[wait.reason].format(provider=wait.provider or job.provider)
    if wait.error is not None and wait.reason in ("retry", "provider_down") and wait.error.code == Code.AUTH_ERROR:
        step = _FAILURE_STEPS[Reason.PROVIDER_AUTH]
    elif wait.error is not None and wait.reason == "retry" and (helps := _FAILURE_STEPS.get(wait.error.reason)):
        step += f" If that fails: {helps}"
    if wait.next_try_at is not None:
        step += f" Next try: {rfc3339(wait.next_try_at)}."
    if wait.error is None:
        return JobSummaryView(
            stage=job.status, code=None, reason=None, message=None, provider_call=call, next_step=step
        )
    return _of_error(wait.error, wait.stage or job.status, call, next_step=step)


def _of_delivery(delivery: DeliveryView, call: ProviderCallView | None) -> JobSummaryView:
    attempt = delivery.last_attempt
    error = None if attempt is None else attempt.error
    step = {
        "held": "Enable the webhook again, then redeliver what was held.",
        "failed": "Ask the tenant to repair the receiver, then redeliver the event.",
    }.get(delivery.state, "The event is sent again by itself. If this goes on, ask the tenant to repair the receiver.")
    if delivery.next_attempt_at is not None:
        step += f" Next try: {rfc3339(delivery.next_attempt_at)}."
    return JobSummaryView(
        stage="webhook",
        code=None if error is None else Code.TEMPORARY,
        reason=error,
        message=None if attempt is None else attempt.message,
        provider_call=call,
        next_step=step,
    )
