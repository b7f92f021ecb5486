from itertools import pairwise
from typing import get_args

import pytest

from gateway.catalogue import REASONS
from gateway.display import Standing, display, poll_after_ms
from gateway.schemas.jobs import Code, ProviderCancel, Stage, Status
from gateway.ui_states import STATES
from tests.support import ui_states


def _key(**standing: object) -> str:
    return display(Standing(**standing), age_seconds=0).key  # type: ignore[arg-type]


@pytest.mark.parametrize("status", get_args(Status))
@pytest.mark.parametrize("stage", [None, *get_args(Stage)])
@pytest.mark.parametrize("code", [None, *get_args(Code)])
def test_every_standing_has_a_state(status: Status, stage: Stage | None, code: Code | None) -> None:
    for reason in (None, *REASONS):
        shown = display(Standing(status=status, failure_stage=stage, code=code, reason=reason), age_seconds=0)
        assert shown.key.startswith(status)


def test_every_state_can_be_shown() -> None:
    cancels = [None, *get_args(ProviderCancel)]
    standings = [
        Standing(
            status=status, failure_stage=stage, code=code, reason=reason, provider_cancel=cancel, images_missing=missing
        )
        for status in get_args(Status)
        for stage in (None, *get_args(Stage))
        for code in (None, *get_args(Code))
        for reason in (None, *REASONS)
        for cancel, missing in [*((one, False) for one in cancels), (None, True)]
    ]
    assert {display(one, age_seconds=0).key for one in standings} == {state.key for state in STATES}


def test_designers_read_the_same_table() -> None:
    made = ui_states.PAGE.read_text(encoding="utf-8")

    assert made == ui_states.page(), "run: python -m tests.support.ui_states"


@pytest.mark.parametrize("reason", ["INVALID_IMAGE", "TOO_LARGE", "FORBIDDEN_ADDRESS"])
def test_nobody_is_told_to_change_a_picture_that_the_provider_made(reason: str) -> None:
    given = _key(status="failed", failure_stage="processing", code="PERMANENT", reason=reason)
    made = _key(status="failed", failure_stage="generating", code="PERMANENT", reason=reason)

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
        ({"status": "failed", "code": "TEMPORARY", "failure_stage": "generating"}, "failed_temporary", ["retry"]),
        (
            {"status": "failed", "code": "TIMEOUT", "reason": "AMBIGUOUS_OUTCOME"},
            "failed_ambiguous",
            ["retry_may_charge_again"],
        ),
        (
            {"status": "failed", "code": "TEMPORARY", "retry_needs_consent": True},
            "failed_temporary",
            ["retry_may_charge_again"],
        ),
        ({"status": "failed", "code": "UNKNOWN", "reason": "INTERNAL"}, "failed", ["retry"]),
    ],
)
def test_a_standing_is_shown_with_what_the_user_can_do(
    standing: dict[str, object], key: str, actions: list[str]
) -> None:
    shown = display(Standing(**standing), age_seconds=0)  # type: ignore[arg-type]
    assert (shown.key, shown.actions) == (key, actions)


def test_asking_slows_down_by_half_up_to_ten_seconds() -> None:
    pauses = [poll_after_ms(age) for age in (-5, 0, 9.99, 10, 10.1, 11.6, 14, 17.5, 22.5, 30.1, 40, 86_400)]
    assert pauses == [1000, 1000, 1000, 1000, 1500, 2250, 3375, 5062, 7594, 10_000, 10_000, 10_000]
    assert all(before <= after for before, after in pairwise(pauses))
