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
#: Jobs whose positions are kept without an open stream. A job that is forgotten begins at what job-service says.
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
        if not self.note(job) or display.percent is None:
            return display
        # Rounded up, since the position of a state is a whole number and the next one may not be less.
        self._furthest = max(float(display.percent), math.ceil(self._furthest))
        return display.model_copy(update={"percent": int(self._furthest)})

    def note(self, job: job_pb2.Job) -> bool:
        """Notes how far a job is; returns False for one without a position: it is final, or of an earlier run."""
        if job.retry_count < self._retry_count:
            # A change of an earlier run, which a stream repeats.
            return False
        if job.retry_count > self._retry_count:
            self._retry_count, self._furthest = job.retry_count, 0.0
        self._is_over = job.status in FINAL
        # Whoever reads the changes from the beginning sees the bar begin there, too.
        self._furthest = 0.0 if self._is_over else max(self._furthest, _position_of(job))
        return not self._is_over

    def advance(self, progress: job_service_pb2.Progress) -> ProgressView | None:
        """Returns the position after live progress; None for that of an earlier run, or after the job's end."""
        if self._is_over or (progress.HasField("retry_count") and progress.retry_count != self._retry_count):
            return None
        self._furthest = max(self._furthest, _position_at(progress.percent))
        return ProgressView(
            percent=self._furthest,
            step=progress.step or None,
            steps=progress.steps or None,
            message=progress.message or None,
        )


def _position_at(generated_percent: float) -> float:
    """Returns the position at which the generating stage has progressed so far; what is out of bounds is cut."""
    share = max(0.0, min(generated_percent, 100.0)) / 100
    return round(GENERATING_BEGINS + share * (GENERATING_ENDS - GENERATING_BEGINS), 1)


def _position_of(job: job_pb2.Job) -> float:
    """Returns the position that every gateway finds for a job that is not final, beside that of its state.

    A job that a worker held before in this run, and that is back before the generating stage, was there already.
    """
    if job.HasField("generated_percent"):
        return _position_at(job.generated_percent)
    return GENERATING_BEGINS if _was_held_before(job) else 0.0


def _was_held_before(job: job_pb2.Job) -> bool:
    # The first claim of a run is the change that makes the job PROCESSING, at the time `started_at`.
    is_early = job.status in (job_pb2.STATUS_QUEUED, job_pb2.STATUS_PROCESSING)
    return is_early and job.HasField("started_at") and job.started_at != job.updated_at


class ProgressBars:
    """The bars of jobs that were shown here while they ran: those of open streams, and the last `limit` ones.

    Kept in memory only. After a restart, and in another gateway, a bar begins at what job-service says of the job.
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
        """Returns what to show for a job, with the furthest position of its bar."""
        if job.status in FINAL and job.id not in self._all:
            return display
        return self.follow(job.id).update(job, display)
