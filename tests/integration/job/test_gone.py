"""Gone means gone: a folder is let go of when it was seen empty after everybody who might write to it was gone."""

from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from services.job.application.provider_calls import record_operation
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.facts import CallSettled
from services.job.domain.timeouts import StageTimeouts
from services.job.store import deletions
from services.job.store.deletions import RECHECK_SECONDS, Deletion
from tests.support.job_service.use_cases import JobUseCases, failed, generated, stored

LIMITS = StageTimeouts()
COPIES_END, STAGING_ENDS = LIMITS.copies_end_seconds, LIMITS.staging_ends_seconds
BUCKETS = ("staging", "public")


def claim(desk: JobUseCases, bucket: str = "staging") -> list[Deletion]:
    """Begin a look at what is due."""
    return desk.run(lambda c: deletions.claim(c, bucket=bucket, tokens=[uuid4()], limits=LIMITS))


def say_empty(desk: JobUseCases, *seen: Deletion) -> int:
    """Say what a look has seen; how many folders were let go of."""
    forgotten: int = desk.run(lambda c: deletions.note_empty(c, [(one.id, one.lease_token) for one in seen]))
    return forgotten


def look(desk: JobUseCases, bucket: str = "staging") -> int | None:
    """One whole look at what is due: None when nothing is, else how many folders were let go of."""
    held = claim(desk, bucket)
    return say_empty(desk, *held) if held else None


def pass_by(desk: JobUseCases, seconds: float) -> None:
    """Let time pass for what is to be deleted."""
    ago = "- make_interval(secs => :seconds)"
    desk.sql(
        f"UPDATE deletions SET asked_at = asked_at {ago}, due_at = due_at {ago}, look_again_at = look_again_at {ago}",
        seconds=seconds,
    )


def clock(desk: JobUseCases) -> float:
    """The database's time, in seconds."""
    [row] = desk.sql("SELECT extract(epoch FROM clock_timestamp()) AS now")
    return float(row.now)


def left(desk: JobUseCases) -> list[str]:
    """Buckets in which a folder is kept in mind."""
    return [row.bucket for row in desk.sql("SELECT bucket FROM deletions ORDER BY bucket DESC")]


def test_a_folder_comes_up_again_until_somebody_says_that_it_is_empty(desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    pass_by(desk, STAGING_ENDS)
    [first] = claim(desk)
    while_held = claim(desk)
    desk.sql("UPDATE deletions SET due_at = clock_timestamp()")
    [again] = claim(desk)
    # The first worker's word is of an earlier look: what came since might not be gone.
    done = [say_empty(desk, one) for one in (first, again)]

    assert (first.prefix, while_held) == (f"{job.id}/", [])
    assert done == [0, 1]
    assert left(desk) == []


def test_only_the_first_look_at_a_completed_job_has_the_names_of_its_images(desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    staged = [row.staged_name for row in desk.sql("SELECT staged_name FROM artifacts")]
    [first] = claim(desk)
    desk.sql("UPDATE deletions SET due_at = clock_timestamp()")
    [unreported] = claim(desk)
    say_empty(desk, unreported)
    desk.sql("UPDATE deletions SET due_at = clock_timestamp()")
    [later] = claim(desk)
    say_empty(desk, later)
    pass_by(desk, STAGING_ENDS)
    [last] = claim(desk)

    assert len(staged) == 1
    assert [list(one.names) for one in (first, unreported, later, last)] == [staged, staged, [], []]
    assert say_empty(desk, last) == 1


def test_a_folder_that_may_have_a_response_of_another_call_is_listed_at_once(desk: JobUseCases) -> None:
    job, call = desk.generate()
    desk.apply(failed(job, calls=(CallOutcome(call_id=call.id, phase=CallPhase.FAILED),)))
    desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
    [claimed] = desk.claim()
    desk.apply(generated(claimed.job, desk.begin(claimed.job)))
    [upload] = desk.claim_uploads()
    desk.apply(stored(upload.job))

    assert [list(one.names) for one in claim(desk)] == [[]]


def test_the_last_look_at_a_folder_is_a_list_though_it_is_the_first(desk: JobUseCases) -> None:
    desk.apply(stored(desk.upload()))
    pass_by(desk, STAGING_ENDS)

    assert [list(one.names) for one in claim(desk)] == [[]]


def test_a_folder_of_a_deleted_or_canceled_job_is_listed_at_once(desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    desk.delete(job.id)
    desk.cancel(desk.upload().id)

    assert [list(one.names) for one in (*claim(desk), *claim(desk), *claim(desk, "public"))] == [[], [], []]


def test_a_deleted_job_lets_go_of_both_its_folders(desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    desk.delete(job.id)

    assert [one.prefix for one in claim(desk, "public")] == [f"jobs/{job.id}/"]
    assert [one.prefix for one in claim(desk)] == [f"{job.id}/"]


def test_an_empty_folder_is_looked_at_again_when_no_writer_can_be_left(desk: JobUseCases) -> None:
    desk.cancel(desk.upload().id)
    early = [look(desk, bucket) for bucket in BUCKETS]
    soon = [look(desk, bucket) for bucket in BUCKETS]
    pass_by(desk, STAGING_ENDS)

    assert (early, soon) == ([0, 0], [None, None])
    assert [look(desk, bucket) for bucket in BUCKETS] == [1, 1]


def test_a_public_folder_is_looked_at_as_soon_as_the_last_copy_must_have_come(desk: JobUseCases) -> None:
    desk.cancel(desk.upload().id)
    look(desk, "public")
    pass_by(desk, COPIES_END - 1)
    before = look(desk, "public")
    pass_by(desk, 1)

    # Not the last look: there is still something to copy from.
    assert (before, look(desk, "public")) == (None, 0)


def test_a_public_folder_is_kept_in_mind_until_there_is_nothing_to_copy_from(desk: JobUseCases) -> None:
    desk.cancel(desk.upload().id)
    pass_by(desk, STAGING_ENDS)
    before = look(desk, "public")
    look(desk, "staging")
    pass_by(desk, RECHECK_SECONDS)

    assert (before, look(desk, "public")) == (0, 1)
    assert left(desk) == []


def test_folders_are_kept_in_mind_while_a_call_may_bring_something(desk: JobUseCases) -> None:
    _, call = desk.generate(provider="paid")
    desk.run(lambda c: record_operation(c, call.id, operation_id="op", state={}))
    desk.cancel(call.job_id)
    desk.delete(call.job_id)
    pass_by(desk, STAGING_ENDS)
    while_open = [look(desk, bucket) for bucket in BUCKETS]
    outcome = CallOutcome(call_id=call.id, phase=CallPhase.CANCELED)
    desk.apply(CallSettled(job_id=call.job_id, outcome=outcome, provider_cancel=None))
    after = look(desk)
    pass_by(desk, STAGING_ENDS)

    assert (while_open, after) == ([0, 0], 0)
    assert [look(desk, bucket) for bucket in BUCKETS] == [1, 1]


def test_what_is_asked_for_again_is_looked_at_from_the_beginning(desk: JobUseCases) -> None:
    job = desk.upload()
    desk.cancel(job.id)
    pass_by(desk, STAGING_ENDS)
    look(desk)
    [held] = claim(desk, "public")
    desk.apply(stored(job))

    assert say_empty(desk, held) == 0
    assert look(desk, "public") == 0
    assert left(desk) == ["public"]


def test_a_folder_of_before_the_upgrade_is_let_go_of_by_one_look(desk: JobUseCases) -> None:
    desk.sql("INSERT INTO deletions VALUES ('del_1', 'job_1', 'staging', 'job_1/', clock_timestamp(), NULL, NULL)")

    assert look(desk) == 1


def test_a_word_of_many_folders_is_taken_at_once(desk: JobUseCases) -> None:
    for _ in range(5):
        desk.apply(stored(desk.upload()))
    pass_by(desk, STAGING_ENDS)
    held = desk.run(lambda c: deletions.claim(c, bucket="staging", tokens=[uuid4() for _ in range(8)], limits=LIMITS))

    assert say_empty(desk, *held) == 5


@dataclass
class Bucket:
    """A folder, and writes on their way to it: they come at these times, whatever becomes of their worker."""

    arrivals: list[float]
    objects: set[float] = field(default_factory=set)

    def come(self, now: float) -> None:
        """What is due by now comes."""
        self.objects |= {at for at in self.arrivals if at <= now}
        self.arrivals = [at for at in self.arrivals if at > now]


def arrivals(longest: float) -> some.SearchStrategy[list[float]]:
    """Times of writes that were begun under a claim, the worst of them at the very end."""
    return some.lists(some.one_of(some.floats(0, longest), some.just(longest - 0.001)), max_size=4)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    staged=arrivals(STAGING_ENDS),
    copied=arrivals(COPIES_END),
    pauses=some.lists(some.tuples(some.floats(0, 400), some.floats(0, 30)), max_size=8),
)
def test_whenever_somebody_looks_nothing_that_comes_late_is_left(
    desk: JobUseCases, staged: list[float], copied: list[float], pauses: list[tuple[float, float]]
) -> None:
    desk.sql("DELETE FROM deletions")
    there = {"staging": Bucket(staged), "public": Bucket(copied)}
    passed, since = 0.0, clock(desk)
    desk.cancel(desk.upload().id)

    def let_come() -> None:
        # The database's time goes on by itself, too.
        for bucket in there.values():
            bucket.come(passed + clock(desk) - since)

    for pause, longest in [*pauses, *[(100.0, 1.0)] * 40]:
        pass_by(desk, pause)
        passed += pause
        held = {bucket: claim(desk, bucket) for bucket in there}
        let_come()
        for bucket, folders in held.items():
            if folders:
                there[bucket].objects.clear()
        # What comes between the look and the word of it is not seen.
        pass_by(desk, longest)
        passed += longest
        let_come()
        for folders in held.values():
            say_empty(desk, *folders)

    assert left(desk) == []
    assert {name: bucket.objects for name, bucket in there.items()} == {"staging": set(), "public": set()}


@pytest.mark.parametrize("lease", [0.5, 3600.0])
def test_a_long_lease_is_waited_for_too(lease: float) -> None:
    limits = StageTimeouts(lease_seconds=lease)

    assert limits.copies_end_seconds > max(lease, limits.max_uploading_seconds)
    assert limits.staging_ends_seconds > max(lease, limits.max_generating_seconds)
