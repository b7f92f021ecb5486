"""States of a job and the one table of its legal transitions."""

from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    #: Waits for a generator, not before `run_at`. A claim moves it on; the monitor fails it after its longest wait.
    QUEUED = "queued"
    #: A generator holds the lease and has sent nothing under it. After a crash the lease runs out and it is requeued.
    PROCESSING = "processing"
    #: A provider call was written down under this lease. After a crash the next claim settles or resumes the call.
    GENERATING = "generating"
    #: Every image that can be had is staged. Crashes repeat the copy, never the call.
    UPLOADING = "uploading"
    #: Its images are public. Final.
    COMPLETED = "completed"
    #: Gave up. Final, unless a user retries.
    FAILED = "failed"
    #: Ended by a user. Final.
    CANCELED = "canceled"


FINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELED})
#: States whose lease is a generator's.
AT_GENERATOR = frozenset({State.PROCESSING, State.GENERATING})


class Transition(StrEnum):
    """Every way in which a job changes; the value names its event."""

    SUBMIT = "job.submitted"
    CLAIM = "job.claimed"
    BEGIN_CALL = "job.generating"
    GENERATED = "job.uploading"
    CLAIM_UPLOAD = "job.upload_claimed"
    STORED = "job.completed"
    REQUEUE = "job.requeued"
    REQUEUE_UPLOAD = "job.upload_requeued"
    FAIL = "job.failed"
    CANCEL = "job.canceled"
    USER_RETRY = "job.retried"
    SETTLE = "job.settled"


#: From which states each transition leads where. Whatever is not here does not happen.
LEGAL: dict[Transition, dict[State, frozenset[State]]] = {
    Transition.CLAIM: {State.QUEUED: frozenset({State.PROCESSING})},
    Transition.BEGIN_CALL: {
        State.PROCESSING: frozenset({State.GENERATING}),
        State.GENERATING: frozenset({State.GENERATING}),
    },
    Transition.GENERATED: {
        # Its time is over while it waits, and earlier claims had staged some images.
        State.QUEUED: frozenset({State.UPLOADING}),
        # From PROCESSING when earlier claims had staged all that was missing.
        State.PROCESSING: frozenset({State.UPLOADING}),
        State.GENERATING: frozenset({State.UPLOADING}),
    },
    Transition.CLAIM_UPLOAD: {State.UPLOADING: frozenset({State.UPLOADING})},
    Transition.STORED: {State.UPLOADING: frozenset({State.COMPLETED})},
    Transition.REQUEUE: {
        State.PROCESSING: frozenset({State.QUEUED}),
        State.GENERATING: frozenset({State.QUEUED}),
    },
    Transition.REQUEUE_UPLOAD: {State.UPLOADING: frozenset({State.UPLOADING})},
    Transition.FAIL: {
        state: frozenset({State.FAILED})
        for state in (State.QUEUED, State.PROCESSING, State.GENERATING, State.UPLOADING)
    },
    Transition.CANCEL: {
        state: frozenset({State.CANCELED})
        for state in (State.QUEUED, State.PROCESSING, State.GENERATING, State.UPLOADING)
    },
    Transition.USER_RETRY: {State.FAILED: frozenset({State.QUEUED, State.UPLOADING})},
    # What became of a call is learned late; the state stays.
    Transition.SETTLE: {state: frozenset({state}) for state in State},
}


def is_legal(transition: Transition, source: State, target: State) -> bool:
    """Tell whether the table allows it."""
    return target in LEGAL.get(transition, {}).get(source, frozenset())
