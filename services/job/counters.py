"""Counts what transactions wrote, once they are committed."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial

from common.after_commit import after_commit
from common.sql import Connection
from common.telemetry import metrics, registry
from services.job.domain.failures import Failure
from services.job.domain.jobs import Job
from services.job.domain.states import AT_GENERATOR, FINAL, State, Transition
from services.job.domain.transitions import Change


def submitted(connection: Connection, job: Job) -> None:
    """Counts a new job."""
    labels = (Transition.SUBMIT.value, "none", job.state.value)
    after_commit(connection, partial(metrics.count, registry.JOB_TRANSITIONS, *labels))


def changed(connection: Connection, changes: Iterable[Change]) -> None:
    """Counts transitions, with the durations of the stages that they ended."""
    after_commit(connection, partial(_count_changes, tuple(changes)))


def _count_changes(changes: Iterable[Change]) -> None:
    for change in changes:
        before, after = change.before, change.after
        labels = (change.transition.value, before.state.value, after.state.value)
        metrics.count(registry.JOB_TRANSITIONS, *labels)
        if (ended := _ended_stage(change)) is not None:
            stage, since = ended
            seconds = max((after.updated_at - since).total_seconds(), 0.0)
            metrics.observe(registry.JOB_STAGE_SECONDS, seconds, stage, after.state.value)
        if after.state in FINAL and before.state is not after.state:
            seconds = max((after.updated_at - after.created_at).total_seconds(), 0.0)
            metrics.observe(registry.JOB_SECONDS, seconds, after.state.value)
            if after.failure is not None:
                metrics.count(registry.JOB_FAILURES, *_labels(after.failure))


def _ended_stage(change: Change) -> tuple[str, datetime] | None:
    """Returns the stage that a transition ended, with its start; None if it ended none."""
    before, after = change.before, change.after
    if before.state is after.state or (before.state in AT_GENERATOR and after.state in AT_GENERATOR):
        return None
    if before.state is State.QUEUED:
        return ("queued", before.queued_at) if before.queued_at else None
    if before.state in AT_GENERATOR:
        return ("generating", before.generating_since) if before.generating_since else None
    if before.state is State.UPLOADING:
        return ("uploading", before.uploading_since) if before.uploading_since else None
    return None


def attempt_ended(connection: Connection, outcome: str, failure: Failure | None) -> None:
    """Counts the end of a claim."""
    after_commit(connection, partial(metrics.count, registry.ATTEMPTS, outcome))
    if failure is not None:
        after_commit(connection, partial(metrics.count, registry.ATTEMPT_FAILURES, *_labels(failure)))


def leases_lost(connection: Connection, leases: int) -> None:
    """Counts claims that ended with their lease."""
    after_commit(connection, partial(metrics.count, registry.LEASES_LOST, by=leases))


def call_begun(connection: Connection, provider: str, model: str) -> None:
    """Counts a provider call before it is sent."""
    after_commit(connection, partial(metrics.count, registry.CALLS_BEGUN, provider, model))


def call_settled(connection: Connection, *, provider: str, model: str, phase: str, cost_micros: int | None) -> None:
    """Counts the end of a provider call, and its cost if that is known."""
    after_commit(connection, partial(metrics.count, registry.CALLS_SETTLED, provider, model, phase))
    spent = max(cost_micros or 0, 0)
    after_commit(connection, partial(metrics.count, registry.SPEND_MICROS, provider, model, by=spent))


def breaker_changed(connection: Connection, provider: str, model: str, *, is_open: bool) -> None:
    """Counts a circuit breaker that opened or closed."""
    labels = (provider, model, "open" if is_open else "closed")
    after_commit(connection, partial(metrics.count, registry.BREAKER_CHANGES, *labels))


def facts_applied(connection: Connection, counts: Mapping[str, int]) -> None:
    """Counts applied facts by result."""
    for result, facts in counts.items():
        after_commit(connection, partial(metrics.count, registry.FACTS_APPLIED, result, by=facts))


def _labels(failure: Failure) -> tuple[str, str, str]:
    return failure.stage.value, failure.code.value, str(failure.reason)
