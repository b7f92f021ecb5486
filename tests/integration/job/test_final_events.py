"""Whoever reads final events by token misses none, in whatever order they commit, and whatever became of the job."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.pool import NullPool

from common.postgres import open_pool
from common.sql import Connection, text
from services.job.application import final_events, user_actions
from services.job.domain.jobs import Snapshot
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.store import feed
from tests.support.job_service.use_cases import JobUseCases, stored

Begin = Callable[[], Connection]
#: What happens next: a transaction cancels a job, and stays open; one of those commits; a reader goes on by its token.
STEPS = st.tuples(st.sampled_from(["cancel", "commit", "read"]), st.integers(0, 10))


@contextmanager
def transactions(url: str) -> Iterator[Begin]:
    """Begins transactions that stay open until the test commits them."""
    engine = open_pool(url, poolclass=NullPool)
    with ExitStack() as stack:

        def begin() -> Connection:
            pooled = stack.enter_context(closing(engine.raw_connection()))
            connection = Connection(pooled)
            stack.callback(connection.rollback)
            return connection

        yield begin


def act(connection: Connection, action: Callable[..., object], job_id: str) -> None:
    """Does something to a job, whose writes are not committed with it."""
    action(connection, "acme", job_id)
    connection.execute(text("SELECT 1"))


@pytest.fixture
def begin(database_url: str) -> Iterator[Begin]:
    """Begins transactions that stay open until the test commits them."""
    with transactions(database_url) as begin:
        yield begin


def canceled(desk: JobUseCases) -> str:
    """A job with a final event."""
    return desk.cancel(desk.create().job.id).job.id


def page(
    desk: JobUseCases, token: str = "", *, since: datetime | None = None, size: int = 100
) -> final_events.Page[Snapshot]:
    """One page."""
    return desk.run(lambda c: final_events.list_snapshots(c, since=since, page_size=size, page_token=token))


def ids(found: final_events.Page[Snapshot]) -> list[str]:
    """The jobs of a page."""
    return [seen.job.id for seen in found.events]


def to_the_end(desk: JobUseCases, *, since: datetime | None = None) -> list[str]:
    """The jobs of all pages."""
    found = page(desk, since=since)
    jobs = ids(found)
    while found.next_page_token:
        found = page(desk, found.next_page_token, since=since)
        jobs += ids(found)
    return jobs


def test_what_is_committed_late_comes_late_and_is_not_missed(desk: JobUseCases, begin: Begin) -> None:
    slow, slow_id = begin(), desk.create().job.id
    act(slow, user_actions.cancel_job, slow_id)
    quick = [canceled(desk) for _ in range(2)]
    first = page(desk, size=1)
    slow.commit()
    rest = page(desk, first.next_page_token)

    assert ids(first) + ids(rest) == [*quick, slow_id]


@settings(
    max_examples=25,
    database=None,
    # Shrinking would take minutes on a real database; a story can be read as it is.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(steps=st.lists(STEPS, min_size=10, max_size=20))
def test_in_whatever_order_transactions_commit_a_reader_hears_each_event_once(
    desk: JobUseCases, database_url: str, steps: list[tuple[str, int]]
) -> None:
    desk.sql("TRUNCATE jobs CASCADE")
    heard, token = [], ""
    with transactions(database_url) as begin:
        jobs, opened = [], []
        for step, pick in steps:
            if step == "cancel":
                jobs.append(desk.create().job.id)
                opened.append(begin())
                act(opened[-1], user_actions.cancel_job, jobs[-1])
            elif step == "commit" and opened:
                opened.pop(pick % len(opened)).commit()
            elif step == "read":
                found = page(desk, token, size=1 + pick)
                heard, token = heard + ids(found), found.resume_token
        for connection in opened:
            connection.commit()
        heard += ids(page(desk, token))

    assert sorted(heard) == sorted(jobs)


def test_a_reader_at_the_end_comes_back_for_what_was_committed_since(desk: JobUseCases) -> None:
    nothing = page(desk, since=datetime.now(UTC) - timedelta(days=1))
    first = canceled(desk)
    then = page(desk, nothing.resume_token)
    second = canceled(desk)

    assert [nothing.next_page_token, then.next_page_token] == ["", ""]
    assert [ids(nothing), ids(then), ids(page(desk, then.resume_token))] == [[], [first], [second]]


def test_only_what_occurred_since_a_time_is_told(desk: JobUseCases) -> None:
    before = canceled(desk)
    since = desk.job(before).updated_at
    later = [canceled(desk) for _ in range(2)]

    assert to_the_end(desk, since=since) == later
    # Now that all have their places, too.
    assert to_the_end(desk, since=since) == later


def test_a_transaction_that_stays_open_elsewhere_stops_nothing(desk: JobUseCases, begin: Begin) -> None:
    begin().execute(text("SELECT pg_current_xact_id()"))
    job_id = canceled(desk)

    assert ids(page(desk)) == [job_id]


def test_a_reader_waits_for_no_other_and_misses_nothing_by_that(desk: JobUseCases, begin: Begin) -> None:
    first, other = canceled(desk), begin()
    feed.extend(other)
    second = canceled(desk)
    meanwhile = page(desk)
    other.commit()

    assert ids(meanwhile) == []
    assert ids(page(desk, meanwhile.resume_token)) == [first, second]


def test_an_event_that_somebody_is_erasing_gets_its_place_afterwards(desk: JobUseCases, begin: Begin) -> None:
    erased, other = canceled(desk), begin()
    act(other, user_actions.delete_job, erased)
    kept = canceled(desk)
    meanwhile = page(desk)
    other.commit()

    assert ids(meanwhile) == [kept]
    assert ids(page(desk, meanwhile.resume_token)) == [erased]


def test_the_end_of_a_deleted_job_is_told_without_what_was_its_users(desk: JobUseCases) -> None:
    job = desk.upload(prompt="a secret", end_user="somebody", metadata={"order": "7"})
    desk.apply(stored(job))
    desk.delete(job.id)
    [seen] = page(desk).events

    assert (seen.job.id, seen.job.state, seen.job.sequence) == (job.id, State.COMPLETED, 6)
    assert (seen.job.request, seen.job.end_user, seen.job.metadata, seen.artifacts) == (None, None, {}, ())


def test_behind_a_long_history_without_places_the_latest_are_found(desk: JobUseCases) -> None:
    old = canceled(desk)
    desk.sql(
        """INSERT INTO job_events
        SELECT job_id, sequence + number, type, state, occurred_at - interval '1 day', snapshot
        FROM job_events, generate_series(1, :many) AS number WHERE type = 'job.canceled'""",
        many=2 * feed.MAX_POSITIONED,
    )
    since = desk.job(old).updated_at
    latest = canceled(desk)

    assert to_the_end(desk, since=since) == [latest]


@pytest.mark.parametrize("token", ["x", "W10", "WyJ5ZXN0ZXJkYXkiXQ", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIl0"])
def test_a_token_that_nobody_gave_is_refused(desk: JobUseCases, token: str) -> None:
    with pytest.raises(Refusal) as refused:
        page(desk, token)

    assert refused.value.reason == "INVALID_INPUT"
    assert "start again" in refused.value.message
