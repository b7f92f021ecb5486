"""States of a job and the one table of its legal transitions."""

from enum import StrEnum

from calotype.job_status import FINAL_STATUSES


class State(StrEnum):
    """State of a job."""

    #: Waits for a generator, at least until `run_at`. A claim ends the wait; the stale-job monitor fails the job when
    #: the wait is too long.
    QUEUED = "queued"
    #: A generator holds the lease and has begun no call. After a crash the lease expires and the job is requeued.
    PROCESSING = "processing"
    #: A provider call was recorded under this lease. After a crash the next claim settles or resumes the call.
    GENERATING = "generating"
    #: Every image that could be obtained is staged. Crashes repeat the copy, never the call.
    UPLOADING = "uploading"
    #: The images are public. Final.
    COMPLETED = "completed"
    #: Ended with a failure. Final, unless a user retries.
    FAILED = "failed"
    #: Ended by a user. Final.
    CANCELED = "canceled"


#: States that no worker changes any more; SQL takes them from here as `services.job.store.rows.FINAL_STATES`.
FINAL = frozenset(State(name) for name in FINAL_STATUSES)
#: States in which a generator holds the lease.
AT_GENERATOR = frozenset({State.PROCESSING, State.GENERATING})


class Transition(StrEnum):
    """Every change of a job; the value is the type of its event."""

    #: A client created the job.
    SUBMIT = "job.submitted"
    #: A generator claimed it.
    CLAIM = "job.claimed"
    #: Its worker begins or follows a provider call.
    BEGIN_CALL = "job.generating"
    #: Its images are staged.
    GENERATED = "job.uploading"
    #: An uploader claimed it.
    CLAIM_UPLOAD = "job.upload_claimed"
    #: Its images are public.
    STORED = "job.completed"
    #: A generator's claim ended without a result; the job waits again.
    REQUEUE = "job.requeued"
    #: An uploader's claim ended without a result; the copy will be tried again.
    REQUEUE_UPLOAD = "job.upload_requeued"
    #: The job ended with a failure.
    FAIL = "job.failed"
    #: A user ended the job.
    CANCEL = "job.canceled"
    #: A user retried a failed job.
    USER_RETRY = "job.retried"
    #: A call's end changed what clients see; the state stays.
    SETTLE = "job.settled"


#: Source states of each transition with their target states. A change that is not listed here is refused.
LEGAL: dict[Transition, dict[State, frozenset[State]]] = {
    Transition.CLAIM: {State.QUEUED: frozenset({State.PROCESSING})},
    Transition.BEGIN_CALL: {
        State.PROCESSING: frozenset({State.GENERATING}),
        State.GENERATING: frozenset({State.GENERATING}),
    },
    Transition.GENERATED: {
        # Its deadline passed while it waited, and earlier claims had staged some images.
        State.QUEUED: frozenset({State.UPLOADING}),
        # From PROCESSING when earlier claims had staged every missing image.
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
    # The end of a call may be reported in any state, and leaves the state as it is.
    Transition.SETTLE: {state: frozenset({state}) for state in State},
}


def is_legal(transition: Transition, source: State, target: State) -> bool:
    """Whether the table allows the transition."""
    return target in LEGAL.get(transition, {}).get(source, frozenset())
