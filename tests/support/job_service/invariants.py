"""Invariants of job-service's tables after every step, in any order of steps; the rules of the chaos test, at once."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from services.job.domain.calls import MAY_HAVE_BOUGHT, OPEN, CallPhase, Consent
from services.job.domain.jobs import Job
from services.job.domain.states import AT_GENERATOR, LEGAL, State, Transition
from services.job.messages import to_protobuf
from services.job.store import artifacts, job_writer, jobs
from tests.support.job_service.use_cases import JobUseCases

DOUBLE_COVER = """
SELECT job_id, image_index FROM provider_call_images
WHERE phase IN ('intended', 'accepted', 'succeeded', 'unknown') AND NOT lifted
GROUP BY job_id, image_index HAVING count(*) > 1
"""
NEWEST = "SELECT DISTINCT ON (job_id) job_id, sequence, state FROM job_events ORDER BY job_id, sequence DESC"
NOT_ITS_LAST_EVENT = f"""
SELECT jobs.id FROM jobs LEFT JOIN ({NEWEST}) AS event
    ON event.job_id = jobs.id AND event.sequence = jobs.sequence AND event.state = jobs.state
WHERE event.job_id IS NULL AND jobs.deleted_at IS NULL
"""
EVENTS = """
SELECT job_id, job_events.sequence, type, job_events.state FROM job_events JOIN jobs ON jobs.id = job_id
WHERE deleted_at IS NULL ORDER BY job_id, job_events.sequence
"""
OUTBOX = "SELECT count(*) AS n FROM outbox JOIN jobs ON jobs.id = job_id WHERE deleted_at IS NULL"
# As many attempts as claims; one that has not ended is the lease's.
OTHER_ATTEMPTS = """
SELECT id FROM jobs WHERE claim_number <> (SELECT count(*) FROM attempts WHERE job_id = id)
    OR (SELECT array_agg(attempt.lease_token) FROM attempts AS attempt
        WHERE attempt.job_id = id AND ended_at IS NULL) IS DISTINCT FROM
        CASE WHEN lease_token IS NULL THEN NULL ELSE ARRAY[lease_token] END
    OR attempt_count <> (SELECT count(*) FROM attempts WHERE job_id = id AND stage = 'generating' AND counted)
"""
# A job is uploaded or completed with at least one image, and a completed one's are public.
WITHOUT_IMAGES = """
SELECT id FROM jobs WHERE state IN ('uploading', 'completed') AND deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM artifacts WHERE job_id = jobs.id AND (state = 'uploading' OR public_name IS NOT NULL))
"""
# Claims look for whatever is due in its lane.
WITHOUT_A_LANE = """
SELECT id FROM jobs WHERE state = 'queued' AND NOT EXISTS (
    SELECT 1 FROM lanes WHERE lanes.tenant = jobs.tenant AND lanes.provider = jobs.provider
        AND lanes.model = jobs.model AND lanes.fallback = jobs.fallback
        AND (wakes_at IS NULL OR wakes_at <= greatest(run_at, clock_timestamp())))
"""
# A claim looks at the lanes with the least load first, and at none of a tenant at its limit.
LOADED_TOO_HIGH = """
SELECT DISTINCT tenant FROM lanes
CROSS JOIN LATERAL (SELECT count(*) AS n FROM jobs
    WHERE jobs.tenant = lanes.tenant AND state IN ('processing', 'generating')) AS running
LEFT JOIN tenant_load USING (tenant)
WHERE wakes_at IS NULL AND lanes.load > running.n AND tenant NOT IN (SELECT tenant FROM load_changes)
    AND NOT (lanes.load = 1000000 AND running.n >= coalesce(max_in_flight, 1000000))
"""
# Nobody is looking at them, and their day has passed, with some minutes for who could have looked.
FORGOTTEN = """
SELECT call.id FROM provider_calls AS call JOIN jobs ON jobs.id = call.job_id
WHERE call.phase IN ('intended', 'accepted') AND jobs.state IN ('completed', 'failed', 'canceled')
    AND call.created_at < clock_timestamp() - interval '24 hours 10 minutes'
    AND coalesce(call.settle_expires_at, '-infinity') < clock_timestamp()
"""
TIMES = (
    *("created_at", "updated_at", "started_at", "completed_at"),
    *("run_at", "queue_position", "queue_position_is_exact", "wait"),
)


@dataclass(kw_only=True)
class Seen:
    """What was seen of the jobs until now."""

    #: Consents that users gave, by job.
    consents: Counter[str] = field(default_factory=Counter)
    views: dict[tuple[str, int], str] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)


def broken(desk: JobUseCases, seen: Seen) -> list[str]:
    """Sentences about what does not hold."""
    rows = desk.sql("SELECT id FROM jobs")
    jobs_by_id = desk.run(lambda c: {row.id: row for row in map(_read(c), rows)})
    staged = Counter(row.job_id for row in desk.sql("SELECT job_id FROM artifacts"))
    problems = [
        *_paths(desk),
        *(f"image {row.image_index} of {row.job_id} is bought twice" for row in desk.sql(DOUBLE_COVER)),
        *(f"{row.id} is not its last event" for row in desk.sql(NOT_ITS_LAST_EVENT)),
        *(f"{row.id} has other attempts than claims" for row in desk.sql(OTHER_ATTEMPTS)),
        *(f"{row.id} goes on without images" for row in desk.sql(WITHOUT_IMAGES)),
        *(f"{row.id} waits in no lane of a claim" for row in desk.sql(WITHOUT_A_LANE)),
        *_consents(desk, jobs_by_id, seen),
        *(f"{row.tenant} waits behind jobs that have ended" for row in desk.sql(LOADED_TOO_HIGH)),
        *(problem for job in jobs_by_id.values() for problem in _row(job)),
        *_views(desk, jobs_by_id, seen),
        *_staged_images(jobs_by_id, staged, seen),
        *_warnings(desk, jobs_by_id),
    ]
    seen.states = {job.id: job.state for job in jobs_by_id.values()}
    return problems


def _read(connection: Any) -> Any:
    def read(row: Any) -> Job:
        job = jobs.get(connection, row.id)
        assert job is not None
        return job

    return read


def _paths(desk: JobUseCases) -> Iterator[str]:
    """Events form a legal path without gaps, and each has a row in the outbox."""
    paths: dict[str, list[Any]] = defaultdict(list)
    for row in desk.sql(EVENTS):
        paths[row.job_id].append(row)
    for job_id, events in paths.items():
        if [event.sequence for event in events] != list(range(1, len(events) + 1)):
            yield f"{job_id} has a gap"
        if (events[0].type, events[0].state) != (Transition.SUBMIT, State.QUEUED):
            yield f"{job_id} began with {events[0].type}"
        for before, after in pairwise(events):
            if State(after.state) not in LEGAL[Transition(after.type)].get(State(before.state), ()):
                yield f"{job_id} went by {after.type} from {before.state} to {after.state}"
    [outbox] = desk.sql(OUTBOX)
    if outbox.n != sum(map(len, paths.values())):
        yield "an event has no row in the outbox"


def _consents(desk: JobUseCases, jobs_by_id: Mapping[str, Job], seen: Seen) -> Iterator[str]:
    """Of each image no more is bought under consent than was consented to."""
    bought: Counter[tuple[str, int, str]] = Counter()
    for call in desk.sql("SELECT job_id, image_indexes, consent, phase FROM provider_calls"):
        if CallPhase(call.phase) in MAY_HAVE_BOUGHT and call.consent != Consent.NONE:
            bought.update((call.job_id, index, call.consent) for index in call.image_indexes)
    for (job_id, index, consent), times in bought.items():
        if times > (1 if consent == Consent.JOB else seen.consents[job_id]):
            yield f"image {index} of {job_id} was bought {times} times with the consent of the {consent}"


def _row(job: Job) -> Iterator[str]:
    """A lease is where a worker is, and each time where its state is."""
    if job.state in AT_GENERATOR and job.lease is None:
        yield f"{job.id} is {job.state} without a lease"
    if job.state not in (*AT_GENERATOR, State.UPLOADING) and job.lease is not None:
        yield f"{job.id} is {job.state} with a lease"
    if (job.state is State.FAILED) != (job.failure is not None):
        yield f"{job.id} is {job.state} with the failure {job.failure}"
    if (job.state in AT_GENERATOR) != (job.generating_since is not None):
        yield f"{job.id} is {job.state} and generates since {job.generating_since}"
    if (job.state is State.QUEUED) != (job.queued_at is not None):
        yield f"{job.id} is {job.state} and waits since {job.queued_at}"


def _views(desk: JobUseCases, jobs_by_id: Mapping[str, Job], seen: Seen) -> Iterator[str]:
    """What a client sees is a function of the job and its sequence."""
    visible = [job for job in jobs_by_id.values() if job.deleted_at is None]
    for job_id, snapshot in desk.run(lambda c: job_writer.snapshots(c, visible)).items():
        view = to_protobuf.job(snapshot, public_base_url="")
        for name in TIMES:
            view.ClearField(name)  # type: ignore[arg-type]
        before = seen.views.setdefault((job_id, view.sequence), str(view))
        if before != str(view):
            yield f"{job_id} at {view.sequence} was first seen as\n{before}\nthen as\n{view}"


def _staged_images(jobs_by_id: Mapping[str, Job], staged: Mapping[str, int], seen: Seen) -> Iterator[str]:
    """A job fails without staged images, unless their upload failed."""
    for job in jobs_by_id.values():
        is_new = job.state is State.FAILED and seen.states.get(job.id) is not State.FAILED
        if is_new and staged[job.id] and job.failure and job.failure.stage not in ("uploading", "persisting"):
            yield f"{job.id} failed by {job.failure.reason} with {staged[job.id]} staged images"


def _warnings(desk: JobUseCases, jobs_by_id: Mapping[str, Job]) -> Iterator[str]:
    """A job that continues without some of its images has a warning for each."""
    going_on = [
        job for job in jobs_by_id.values() if job.state in (State.UPLOADING, State.COMPLETED) and not job.deleted_at
    ]
    images = desk.run(lambda c: artifacts.of_jobs(c, [job.id for job in going_on]))
    for job in going_on:
        here = {image.image_index for image in images.get(job.id, [])}
        if untold := set(range(job.image_count)) - here - {warning.image_index for warning in job.warnings}:
            yield f"{job.id} is {job.state} and has no warning for images {untold}"


def forgotten(desk: JobUseCases) -> set[str]:
    """Returns calls of final jobs that are open past their time to be settled."""
    return {row.id for row in desk.sql(FORGOTTEN)}


def ledger(desk: JobUseCases) -> dict[str, tuple[CallPhase, State]]:
    """Returns the phase of each call, and the state of its job."""
    statement = "SELECT call.id, phase, state FROM provider_calls AS call JOIN jobs ON jobs.id = call.job_id"
    return {row.id: (CallPhase(row.phase), State(row.state)) for row in desk.sql(statement)}


def followed(desk: JobUseCases, *, max_queued_seconds: float) -> set[str]:
    """Jobs that wait with an open call, and may go on waiting for a claim that follows it."""
    phases = ", ".join(f"'{phase}'" for phase in sorted(OPEN))
    return {
        row.id
        for row in desk.sql(
            "SELECT id FROM jobs WHERE state = 'queued' AND EXISTS (SELECT 1 FROM provider_calls WHERE job_id = jobs.id"
            f" AND phase IN ({phases}))"
            " AND queued_seconds + extract(epoch FROM clock_timestamp() - queued_at) < :max_seconds",
            max_seconds=max_queued_seconds,
        )
    }
