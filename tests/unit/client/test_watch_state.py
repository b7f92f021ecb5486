"""The state of a watch, without any service."""

import grpc
import pytest
from calotype.client import DeadlineExceeded, Unavailable, call_policy
from calotype.client.watch_state import WatchState
from calotype.error_reasons import Reason

from common.errors import ServiceError, to_status
from tests.support.patience import PATIENCE


class Refused(grpc.RpcError):
    """A call that failed."""

    def __init__(self, error: ServiceError) -> None:
        self._error = error

    def code(self) -> grpc.StatusCode:
        """Its status."""
        return self._error.status

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Its details."""
        return (("grpc-status-details-bin", to_status(self._error).SerializeToString()),)


def away(seconds: float | None = None) -> Refused:
    """The service is away, and may say for how long."""
    error = ServiceError(
        status=grpc.StatusCode.UNAVAILABLE,
        reason=Reason.SERVICE_UNAVAILABLE,
        message="No.",
        retry_after_seconds=seconds,
    )
    return Refused(error)


def watch_state(timeout: float | None = None) -> WatchState:
    """A watch that has just begun."""
    return WatchState("acme", "job_1", after=None, timeout=timeout)


def test_pauses_grow_to_five_seconds_and_differ() -> None:
    watch = watch_state()
    pauses = []
    for _ in range(200):
        watch.on_error(away())
        pauses.append(watch.pause())

    assert 0.2 <= pauses[0] <= 0.4
    assert all(2.5 <= pause <= 5 for pause in pauses[5:])
    assert len(set(pauses)) > 190


def test_the_attempts_of_a_call_outlast_the_time_until_the_channel_connects_again() -> None:
    longest = dict(call_policy.CHANNEL_OPTIONS)["grpc.max_reconnect_backoff_ms"] / 1000 * 1.2

    assert min(sum(call_policy.pauses()) for _ in range(1000)) > longest


def test_a_pause_that_the_service_names_is_kept() -> None:
    watch = watch_state()
    watch.on_error(away(30))

    assert watch.pause() == 30


def test_no_pause_is_longer_than_the_time_that_is_left() -> None:
    watch = watch_state(timeout=2 * PATIENCE)
    watch.on_error(away(3 * PATIENCE))

    assert PATIENCE < watch.pause() <= 2 * PATIENCE


def test_whoever_ran_out_of_time_is_told_what_was_away() -> None:
    watch = watch_state(timeout=0)
    watch.on_error(away())

    with pytest.raises(DeadlineExceeded, match=r"The job job_1 was not final after 0 s") as late:
        watch.pause()
    assert isinstance(late.value.__cause__, Unavailable)
