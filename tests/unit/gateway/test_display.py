"""What is shown of a job, wherever it can stand."""

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import pytest
from calotype.error_reasons import Code, Reason

from gateway.problems.reasons import REASONS
from gateway.schemas.jobs import Stage, Status
from gateway.views.display import JobCondition, display, poll_after_ms
from gateway.views.ui_states import STATES
from tests.support.gateway.job_conditions import failed, job_conditions
from tests.support.pages import ui_states

FAILED = [one for one in failed() if not one.retry_needs_consent]
#: Failures that will come again for as long as the request is the same.
OF_THE_REQUEST = {
    ("processing", "INVALID_INPUT"),
    ("processing", "TOO_LARGE"),
    ("processing", "FORBIDDEN_ADDRESS"),
    ("generating", "INVALID_INPUT"),
    ("generating", "UNSUPPORTED"),
    ("generating", "CONTENT_POLICY"),
}
#: Failures that are nobody's but ours.
OF_THIS_SERVICE = {"SERVICE_UNAVAILABLE", "STAGE_TIMEOUT", "STORAGE_DENIED", "STORAGE_UNAVAILABLE", "WORKER_LOST"}
#: Ends of a call after which the ledger lets its pictures be bought again without consent.
NOTHING_BOUGHT = {
    "BUDGET_EXHAUSTED",
    "CONTENT_POLICY",
    "INVALID_INPUT",
    "PROVIDER_AUTH",
    "PROVIDER_CANCELED",
    "PROVIDER_RATE_LIMIT",
    "PROVIDER_REJECTED",
    "PROVIDER_UNAVAILABLE",
    "QUOTA_EXHAUSTED",
    "UNSUPPORTED",
}


def _key(**standing: object) -> str:
    return display(JobCondition(**standing), age_seconds=0).key  # type: ignore[arg-type]


def _said(standing: JobCondition) -> str:
    return f"{standing.failure_stage} {standing.reason}"


@pytest.mark.parametrize("standing", FAILED, ids=_said)
def test_that_something_went_wrong_is_said_of_a_defect_of_ours_alone(standing: JobCondition) -> None:
    shown = display(standing, age_seconds=0)

    assert (shown.key == "failed") == (standing.reason == "INTERNAL")
    assert shown.key.startswith("failed")


def test_every_state_can_be_shown_and_every_standing_has_one() -> None:
    shown = {(standing.status, display(standing, age_seconds=0).key) for standing in job_conditions()}

    assert shown == {(state.when.status, state.key) for state in STATES}


@pytest.mark.parametrize("status", get_args(Status))
@pytest.mark.parametrize("stage", [None, *get_args(Stage)])
@pytest.mark.parametrize("code", [None, *Code])
def test_what_only_a_newer_service_knows_is_told_by_what_is_known_of_it(
    status: Status, stage: Stage | None, code: Code | None
) -> None:
    shown = display(JobCondition(status=status, failure_stage=stage, code=code), age_seconds=0)

    assert shown.key.startswith(status)


@pytest.mark.parametrize("standing", FAILED, ids=_said)
def test_whoever_is_offered_no_retry_is_told_what_to_change(standing: JobCondition) -> None:
    shown = display(standing, age_seconds=0)

    assert bool(shown.actions) == ((standing.failure_stage, standing.reason) not in OF_THE_REQUEST)
    assert shown.actions or shown.message.endswith("submit a new request.")


@pytest.mark.parametrize("standing", FAILED, ids=_said)
def test_nobody_pays_again_without_having_been_asked(standing: JobCondition) -> None:
    shown = display(replace(standing, retry_needs_consent=True), age_seconds=0)

    assert "retry" not in shown.actions


@pytest.mark.parametrize("standing", [one for one in FAILED if one.failure_stage == "generating"], ids=_said)
def test_where_a_call_may_have_been_charged_that_is_said(standing: JobCondition) -> None:
    shown = display(standing, age_seconds=0)

    assert ("charged" in shown.message) == (standing.reason not in NOTHING_BOUGHT)


@pytest.mark.parametrize("standing", [one for one in FAILED if one.reason in OF_THIS_SERVICE], ids=_said)
def test_the_provider_is_not_blamed_for_what_this_service_could_not_do(standing: JobCondition) -> None:
    shown = display(standing, age_seconds=0)

    assert "provider" not in f"{shown.key} {shown.title} {shown.message}".lower()


def test_designers_read_the_same_table() -> None:
    made = ui_states.PAGE.read_text(encoding="utf-8")

    assert made == ui_states.page(), "run: python -m tests.support.pages.ui_states"


@pytest.mark.parametrize(
    ("of_given", "of_made"),
    [
        (Reason.INVALID_INPUT, Reason.INVALID_IMAGE),
        (Reason.TOO_LARGE, Reason.TOO_LARGE),
        (Reason.FORBIDDEN_ADDRESS, Reason.FORBIDDEN_ADDRESS),
        (Reason.FETCH_FAILED, Reason.FETCH_FAILED),
    ],
)
def test_nobody_is_told_to_change_a_picture_that_the_provider_made(of_given: Reason, of_made: Reason) -> None:
    given = _key(status="failed", failure_stage="processing", code=REASONS[of_given].code, reason=of_given)
    made = _key(status="failed", failure_stage="generating", code=REASONS[of_made].code, reason=of_made)

    assert given.startswith("failed_input_")
    assert made.startswith("failed_result_")


def test_keys_name_one_state_each() -> None:
    assert len({state.key for state in STATES}) == len(STATES)


@pytest.mark.parametrize(
    ("standing", "key", "actions"),
    [
        ({"status": "generating"}, "generating", ["cancel"]),
        ({"status": "completed"}, "completed", []),
        ({"status": "completed", "images_missing": True}, "completed_partly", []),
        ({"status": "canceled", "provider_cancel": "pending"}, "canceled_pending", []),
        ({"status": "failed", "reason": "CONTENT_POLICY", "code": "PERMANENT"}, "failed_content_policy", []),
        ({"status": "failed", "reason": "INVALID_INPUT", "code": "PERMANENT"}, "failed_request", []),
        ({"status": "failed", "code": "TEMPORARY", "failure_stage": "uploading"}, "failed_storage", ["retry"]),
        ({"status": "failed", "code": "TEMPORARY", "reason": "PROVIDER_UNAVAILABLE"}, "failed_temporary", ["retry"]),
        (
            {"status": "failed", "code": "TIMEOUT", "reason": "AMBIGUOUS_OUTCOME"},
            "failed_ambiguous",
            ["retry_may_charge_again"],
        ),
        (
            {"status": "failed", "code": "RATE_LIMIT", "retry_needs_consent": True},
            "failed_rate_limit",
            ["retry_may_charge_again"],
        ),
        ({"status": "failed", "code": "UNKNOWN", "reason": "INTERNAL"}, "failed", ["retry"]),
    ],
)
def test_a_standing_is_shown_with_what_the_user_can_do(
    standing: dict[str, object], key: str, actions: list[str]
) -> None:
    shown = display(JobCondition(**standing), age_seconds=0)  # type: ignore[arg-type]
    assert (shown.key, shown.actions) == (key, actions)


@pytest.mark.parametrize("seconds_per_request", [0, 0.01, 0.1, 1])
def test_a_client_that_obeys_asks_25_times_at_most_about_a_job_of_two_minutes(seconds_per_request: float) -> None:
    age, asked = 0.0, 0
    while age < 120:
        age += poll_after_ms(age) / 1000 + seconds_per_request
        asked += 1
    assert asked <= 25


def test_asking_slows_down_by_half_up_to_ten_seconds() -> None:
    pauses = [poll_after_ms(age) for age in (-5, 0, 9.99, 10, 10.1, 11.6, 14, 17.5, 22.5, 30.1, 40, 86_400)]
    assert pauses == [1000, 1000, 1000, 1000, 1500, 2250, 3375, 5062, 7594, 10_000, 10_000, 10_000]
    assert all(before <= after for before, after in pairwise(pauses))
