"""State, event and outbox row are there together, or not at all."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import DBAPIError

from common.postgres import sqlstate
from common.sql import Connection
from services.job.domain import transitions
from services.job.domain.jobs import Job, ProviderCancel
from services.job.domain.states import State
from services.job.store import job_writer
from tests.support.job_service.use_cases import JobUseCases, generated

BREAK = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken on purpose'; END $$;
CREATE TRIGGER broken BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture(autouse=True)
def mended(desk: JobUseCases) -> Iterator[None]:
    """After each test the module's database is whole again."""
    yield
    desk.sql("DROP FUNCTION IF EXISTS refuse CASCADE")


def counts(desk: JobUseCases) -> list[int]:
    """Rows of everything that a transition writes."""
    tables = ("jobs", "job_events", "outbox", "attempts", "provider_calls", "artifacts")
    return [desk.sql(f"SELECT count(*) AS n FROM {table}")[0].n for table in tables]


@pytest.mark.parametrize("table", ["job_events", "outbox"])
def test_a_submit_that_breaks_leaves_nothing(desk: JobUseCases, table: str) -> None:
    desk.sql(BREAK.format(table=table))

    with pytest.raises(DBAPIError, match="broken on purpose"):
        desk.create(key="k", fingerprint="f")
    assert counts(desk) == [0, 0, 0, 0, 0, 0]
    assert desk.sql("SELECT count(*) AS n FROM idempotency_keys")[0].n == 0


@pytest.mark.parametrize("table", ["job_events", "outbox"])
@pytest.mark.parametrize("step", ["claim", "begin", "generated", "cancel"])
def test_a_transition_that_breaks_leaves_everything_as_it_was(desk: JobUseCases, table: str, step: str) -> None:
    job, act = _prepared(desk, step)
    before = (counts(desk), desk.job(job.id))
    desk.sql(BREAK.format(table=table))

    with pytest.raises(DBAPIError, match="broken on purpose"):
        act()
    assert (counts(desk), desk.job(job.id)) == before


def test_a_transition_of_a_job_that_is_not_as_it_was_fails_the_transaction(desk: JobUseCases) -> None:
    job = desk.create().job
    before = counts(desk)

    def cancel_as_if_it_had_changed(connection: Connection) -> None:
        stale = replace(job, sequence=job.sequence + 1)
        job_writer.write(
            connection, [transitions.cancel(stale, provider_cancel=ProviderCancel.NOT_NEEDED, now=datetime.now(UTC))]
        )

    with pytest.raises(DBAPIError, match="1 of 1 transitions did not apply") as failure:
        desk.run(cancel_as_if_it_had_changed)
    assert sqlstate(failure.value) == "U0001"
    assert (counts(desk), desk.job(job.id)) == (before, job)


def _prepared(desk: JobUseCases, step: str) -> tuple[Job, Callable[[], object]]:
    created = desk.create().job
    if step == "claim":
        return created, desk.claim
    [claimed] = desk.claim()
    if step == "begin":
        return claimed.job, lambda: desk.begin(claimed.job)
    call = desk.begin(claimed.job)
    job = desk.job(created.id)
    assert job.state is State.GENERATING
    if step == "generated":
        return job, lambda: desk.apply(generated(job, call))
    return job, lambda: desk.cancel(job.id)
