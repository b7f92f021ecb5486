"""A job's way through its states, one transaction at a time."""

from services.job.domain.calls import CallPhase
from services.job.domain.states import State
from tests.support.job_service.use_cases import JobUseCases, generated, stored


def test_a_job_goes_from_submit_to_completed(desk: JobUseCases) -> None:
    created = desk.create(n=2, provider="paid")
    [claimed] = desk.claim()
    call = desk.begin(claimed.job, 0, 1)
    desk.apply(generated(desk.job(created.job.id), call, cost=80_000))
    [upload] = desk.claim_uploads()
    desk.apply(stored(upload.job))
    seen = desk.get(created.job.id)

    assert [created.job.state, claimed.job.state] == [State.QUEUED, State.PROCESSING]
    assert seen.job.state is State.COMPLETED
    assert [image.public_name for image in seen.artifacts] == [
        f"jobs/{seen.job.id}/{index}-0000000000000000.png" for index in (0, 1)
    ]
    assert (seen.cost.amount_micros, seen.cost.complete) == (80_000, True)
    assert (seen.job.attempt_count, seen.job.claim_number, seen.job.lease) == (1, 2, None)


def test_every_transition_leaves_one_event_and_one_outbox_row(desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    events = desk.sql("SELECT sequence, type, state FROM job_events ORDER BY sequence")
    outbox = desk.sql("SELECT sequence, wake FROM outbox ORDER BY sequence")

    assert [(row.sequence, row.type, row.state) for row in events] == [
        (1, "job.submitted", "queued"),
        (2, "job.claimed", "processing"),
        (3, "job.generating", "generating"),
        (4, "job.uploading", "uploading"),
        (5, "job.upload_claimed", "uploading"),
        (6, "job.completed", "completed"),
    ]
    assert [(row.sequence, row.wake) for row in outbox] == [
        (1, "generate"),
        (2, None),
        (3, None),
        (4, "upload"),
        (5, None),
        (6, "delete"),
    ]


def test_the_ledger_knows_a_call_before_it_leaves(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    [row] = desk.sql("SELECT phase, image_indexes, claim_number FROM provider_calls")

    assert (row.phase, row.image_indexes, row.claim_number) == (CallPhase.INTENDED, [0], job.claim_number)
    assert call.idempotency_key == call.id
