"""What users saw of a job: one view for each sequence, whoever showed it, and each change once for who follows."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from calotype.job_status import FINAL_STATUSES

View = Mapping[str, Any]
#: Seconds without a word after which a reader hangs up and comes again, and how often it does so after a change.
SHORTEST_READ, LONGEST_READ = 0.3, 2.5
HANGS_UP = 0.2


class Sight:
    """All that one user saw of one job; two different views of one sequence are told."""

    def __init__(self, job_id: str, tell: Callable[[str], None]) -> None:
        self._job_id = job_id
        self._tell = tell
        self._views: dict[int, View] = {}
        #: Sequences in the order in which a stream told them.
        self.heard: list[int] = []

    @property
    def last_heard(self) -> int:
        """The sequence that a stream told last."""
        return self.heard[-1] if self.heard else 0

    def see(self, view: View) -> None:
        """Remember a view, but for what may change between two: place in the queue, progress, when to ask again."""
        known = lasting(view)
        before = self._views.setdefault(int(view["sequence"]), known)
        if before != known:
            self._tell(f"{self._job_id} at {view['sequence']} was seen with two values of {differences(before, known)}")

    def hear(self, view: View) -> None:
        """Remember what a stream told."""
        self.heard.append(int(view["sequence"]))
        self.see(view)


def lasting(view: View) -> View:
    """A view without what does not depend on the sequence alone."""
    # What a queued job waits for, and so what is displayed of it, changes with providers and other jobs.
    shown = {} if view.get("status") == "queued" else view["display"]
    # Live progress moves the bar between two changes.
    moves = {"poll_after_ms", "next_try_at"} | (set() if view.get("status") in FINAL_STATUSES else {"percent"})
    display = {name: value for name, value in shown.items() if name not in moves}
    position = {"queue_position": None, "queue_position_is_exact": None}
    return {**view, **position, "wait": None, "display": display}


def differences(one: View, other: View) -> str:
    """The fields in which two views differ, with both values."""
    fields = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
    return "; ".join(f"{name}: {one.get(name)} and {other.get(name)}"[:300] for name in fields)


def jobs_of(answer: httpx.Response) -> Iterator[View]:
    """The changes that a stream tells, each once it is there as a whole."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(":")
        if line and name:
            fields[name] = value.removeprefix(" ")
        elif not line:
            if fields.get("event") == "job":
                yield json.loads(fields["data"])
            fields = {}
