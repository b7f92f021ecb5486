"""Final statuses: one definition, compared with job-service's table and with what each package makes of it."""

import pytest
from calotype.client import call_policy
from calotype.job.v1 import job_pb2
from calotype.job_status import FINAL_STATUSES

from cli.api import jobs, progress
from gateway.schemas.jobs import Status
from gateway.streams import follow
from gateway.views import display
from services.job.domain.states import FINAL, LEGAL, State, Transition

#: Changes that are no way out of a final state: a user's decision, and a change that leaves the state as it is.
NOT_BY_WORKERS = {Transition.USER_RETRY, Transition.SETTLE}


def test_final_are_the_states_that_no_worker_leaves() -> None:
    left = {source for transition, moves in LEGAL.items() if transition not in NOT_BY_WORKERS for source in moves}

    assert set(State) - left == set(FINAL) == {State(name) for name in FINAL_STATUSES}


def test_a_final_state_has_no_way_out_but_a_retry_of_a_failed_job() -> None:
    moves = {
        (transition, source)
        for transition, targets in LEGAL.items()
        for source, reached in targets.items()
        if source in FINAL and reached != {source}
    }

    assert moves == {(Transition.USER_RETRY, State.FAILED)}


@pytest.mark.parametrize("name", [status.value for status in State])
def test_the_client_and_the_gateway_stop_following_a_job_in_each_final_status_and_in_no_other(name: str) -> None:
    job = job_pb2.Job(status=job_pb2.Status.Value(f"STATUS_{name.upper()}"))

    assert follow.is_final(job) is call_policy.is_final(job) is (name in FINAL_STATUSES)


def test_the_command_has_an_exit_code_for_each_final_status() -> None:
    assert set(progress.OUTCOMES) == set(FINAL_STATUSES)
    assert set(jobs.STATUSES) == {state.value for state in State}


@pytest.mark.parametrize("status", [state.value for state in State])
def test_the_gateway_names_a_next_poll_unless_a_job_is_final(status: Status) -> None:
    shown = display.display(display.JobCondition(status=status), age_seconds=0.0)

    assert (shown.poll_after_ms is None) is (status in FINAL_STATUSES)
