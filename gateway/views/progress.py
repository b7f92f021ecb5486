"""Position of a job's progress bar: the share of its state, refined by live progress. It never moves backwards."""

import math
from collections import OrderedDict
from weakref import WeakValueDictionary

from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.job_status import FINAL_STATUSES

from gateway.schemas.jobs import DisplayView, ProgressView
from gateway.views.ui_states import STATES

FINAL = frozenset(job_pb2.Status.Value(f"STATUS_{name.upper()}") for name in FINAL_STATUSES)
_PERCENT = {state.key: state.percent or 0 for state in STATES}
#: Positions, from 0 to 100, between which live progress moves: those of the states `generating` and `uploading`.
GENERATING_BEGINS, GENERATING_ENDS = _PERCENT["generating"], _PERCENT["uploading"]
#: Jobs whose positions are kept without an open stream. A job that is forgotten begins at the share of its state.
MAX_JOBS = 10_000


class ProgressBar:
    """Furthest position of one job's bar, 0 to 100; a user's retry begins at 0 again.

    An automatic retry leaves the bar where it is, until the job is further than that.
    """

    def __init__(self) -> None:
        self._furthest = 0.0
        self._retry_count = 0
        self._is_over = False

    def update(self, job: job_pb2.Job, display: DisplayView) -> DisplayView:
        """Returns what to show for a state of the job, with the furthest position; without a bar it stays without."""
        if job.retry_count < self._retry_count:
            # A change of an earlier run, which a stream repeats.
            return display
        if job.retry_count > self._retry_count:
            self._retry_count, self._furthest = job.retry_count, 0.0
        self._is_over = job.status in FINAL
        if self._is_over:
            # Whoever reads the changes from the beginning sees the bar begin there, too.
            self._furthest = 0.0
            return display
        if display.percent is None:
            return display
        # Rounded up, since the position of a state is a whole number and the next one may not be less.
        self._furthest = max(float(display.percent), math.ceil(self._furthest))
        return display.model_copy(update={"percent": int(self._furthest)})

    def advance(self, progress: job_service_pb2.Progress) -> ProgressView | None:
        """Returns the position after live progress; None for progress that arrives after the job's end."""
        if self._is_over:
            return None
        share = max(0.0, min(progress.percent, 100.0)) / 100
        position = GENERATING_BEGINS + share * (GENERATING_ENDS - GENERATING_BEGINS)
        self._furthest = max(self._furthest, round(position, 1))
        return ProgressView(
            percent=self._furthest,
            step=progress.step or None,
            steps=progress.steps or None,
            message=progress.message or None,
        )


class ProgressBars:
    """The bars of all jobs that were followed here: those of open streams, and the last `limit` ones.

    Kept in memory only: after a restart, and in another gateway, a bar begins at the share of the job's state.
    """

    def __init__(self, *, limit: int = MAX_JOBS) -> None:
        self._limit = limit
        self._all: WeakValueDictionary[str, ProgressBar] = WeakValueDictionary()
        self._last: OrderedDict[str, ProgressBar] = OrderedDict()

    def follow(self, job_id: str) -> ProgressBar:
        """Returns the bar of a job that is followed from now on; the caller keeps it as long as it follows the job."""
        bar = self._all.get(job_id) or ProgressBar()
        self._all[job_id] = self._last[job_id] = bar
        self._last.move_to_end(job_id)
        if len(self._last) > self._limit:
            self._last.popitem(last=False)
        return bar

    def refine(self, job: job_pb2.Job, display: DisplayView) -> DisplayView:
        """Returns what to show for a job, with the furthest position of its bar if it was followed here."""
        bar = self._all.get(job.id)
        return display if bar is None else bar.update(job, display)
