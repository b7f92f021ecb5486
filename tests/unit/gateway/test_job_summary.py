"""What operators read first of a job."""

from typing import Any, get_args

import pytest
from calotype.error_reasons import Reason

from gateway.api_docs.examples import RESPONSES
from gateway.problems.reasons import REASONS
from gateway.schemas.attempts import AttemptView
from gateway.schemas.jobs import ErrorView, JobView, WaitReason
from gateway.schemas.webhooks import DeliveryView
from gateway.views.job_summary import summary

COMPLETED = JobView.model_validate(RESPONSES["getJob", "200"])
ATTEMPTS = [AttemptView.model_validate(found) for found in RESPONSES["getAnyJob", "200"]["attempts"]]
STORE = "Check the object store, then retry the job."
DELIVERY = RESPONSES["listDeliveries", "200"]["deliveries"][0]


def error(reason: str) -> dict[str, Any]:
    """A failure."""
    return {
        "code": REASONS[Reason(reason)].code,
        "reason": reason,
        "message": "It failed.",
        "retryable": False,
        "retry_after_seconds": None,
        "docs_url": "https://api.example/problems/x",
    }


def waiting(reason: str, **changes: Any) -> JobView:
    """A queued job that waits."""
    wait = {"reason": reason, "next_try_at": None, "provider": None, "limit": None, "stage": None, "error": None}
    return JobView.model_validate(RESPONSES["createJob", "202"] | {"wait": wait | changes})


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_next_step(reason: Reason) -> None:
    failed = {"status": "failed", "failure_stage": "generating", "error": error(reason)}
    found = summary(JobView.model_validate(RESPONSES["getJob", "200"] | failed), ATTEMPTS, [])

    assert (found.stage, found.reason) == ("generating", reason)
    assert found.next_step
    assert found.provider_call == ATTEMPTS[-1].provider_calls[-1]


@pytest.mark.parametrize("reason", get_args(WaitReason))
def test_every_wait_has_a_next_step_that_names_the_provider(reason: str) -> None:
    found = summary(waiting(reason, next_try_at="2026-01-31T12:00:30Z"), [], [])

    assert "{" not in found.next_step
    assert found.next_step.endswith("Next try: 2026-01-31T12:00:30.000000Z.")
    assert (found.stage, found.provider_call) == ("queued", None)


def test_a_refused_credential_is_to_be_replaced_also_while_a_job_waits() -> None:
    job = waiting("provider_down", provider="paid", stage="queued", error=error("PROVIDER_AUTH"))

    assert summary(job, [], []).next_step.startswith("Replace the provider's credential")


@pytest.mark.parametrize(("state", "step"), [("pending", "sent again"), ("failed", "redeliver"), ("held", "Enable")])
def test_an_event_that_is_not_delivered_is_the_stage_of_a_final_job(state: str, step: str) -> None:
    delivery = DeliveryView.model_validate(DELIVERY | {"state": state})
    found = summary(COMPLETED, ATTEMPTS, [delivery])

    assert found.stage == "webhook"
    assert step in found.next_step


def test_nothing_is_wrong_with_a_completed_job() -> None:
    found = summary(COMPLETED, ATTEMPTS, [])

    assert (found.stage, found.code, found.reason) == ("completed", None, None)
    assert found.next_step == "Nothing is wrong: the job is completed."


def test_a_job_that_a_worker_tries_again_has_the_error_of_the_try_before() -> None:
    cause = ErrorView.model_validate(error("STORAGE_UNAVAILABLE"))
    failed = ATTEMPTS[-1].model_copy(update={"failure_stage": "uploading", "error": cause})
    begun = failed.model_copy(
        update={"number": failed.number + 1, "ended_at": None, "outcome": None, "failure_stage": None, "error": None}
    )
    job = COMPLETED.model_copy(update={"status": "uploading", "wait": None})
    again, first = summary(job, [failed, begun], []), summary(job, [begun], [])

    assert (again.stage, again.code, again.reason) == ("uploading", "TEMPORARY", "STORAGE_UNAVAILABLE")
    assert again.next_step == "The job is tried again by a worker now. If that fails: " + STORE
    assert (first.code, first.next_step) == (
        None,
        "Nothing is wrong: a worker holds the job. Its lease says until when.",
    )
    assert summary(COMPLETED, [failed, begun], []).code is None


def test_a_job_that_waits_for_its_next_try_says_what_helps_if_it_fails_again() -> None:
    job = waiting("retry", stage="uploading", error=error("STORAGE_UNAVAILABLE"))

    assert summary(job, [], []).next_step == "The job is tried again by itself. If that fails: " + STORE
