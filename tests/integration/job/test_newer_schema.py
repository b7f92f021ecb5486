"""A job-service that runs goes on when the next version's migrations have been applied under it."""

import pytest
from calotype.error_reasons import Code
from calotype.job.v1 import job_pb2
from click.testing import CliRunner

from cli.__main__ import main
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.states import State
from services.job.migrations import MIGRATIONS
from tests.support.job_service.api import Api
from tests.support.job_service.use_cases import JobUseCases, failed, generated, stored
from tests.support.servers import embedded_servers
from tests.support.servers.embedded_servers import Server
from tests.support.servers.newer_schema import REVISION, expand, revision


async def test_what_runs_and_what_starts_works_beside_the_next_versions_schema(
    api: Api, desk: JobUseCases, database_url: str
) -> None:
    before = await api.create("before the migration", n=2, key="k", end_user="u")
    await api.claim()
    expand(database_url)

    # On connections whose statements were prepared before.
    after = await api.create("after it", key="l")
    assert (await api.create("before the migration", n=2, key="k", end_user="u")).job.id == before.job.id
    assert [(await api.get(job.id)).status for job in (before.job, after.job)] == [
        job_pb2.STATUS_PROCESSING,
        job_pb2.STATUS_QUEUED,
    ]
    assert {job.id for job in (await api.page()).jobs} == {before.job.id, after.job.id}
    assert (await api.cancel(after.job.id)).job.status == job_pb2.STATUS_CANCELED

    # On new ones: a process that starts.
    desk.dispose()
    assert not desk.run(MIGRATIONS.is_behind)
    first = desk.job(before.job.id)
    call = desk.begin(first, 0)
    desk.apply(failed(first, code=Code.TEMPORARY, calls=(CallOutcome(call_id=call.id, phase=CallPhase.FAILED),)))
    desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
    [again] = desk.claim()
    desk.apply(generated(again.job, desk.begin(again.job)))
    [upload] = desk.claim_uploads()
    desk.apply(stored(upload.job))
    assert desk.get(first.id).job.state is State.COMPLETED
    desk.delete(first.id)
    desk.submit_batch({"key": "1"}, {"key": "2", "provider": "paid"})
    assert len(desk.claim(2)) == 2


def test_an_older_program_leaves_a_newer_schema_as_it_is(
    postgres: Server, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = embedded_servers.copy_database(postgres.url, template)
    monkeypatch.setenv("CALOTYPE_DATABASE_URL", url)
    expand(url)
    result = CliRunner().invoke(main, ["migrate"])

    assert result.exit_code == 0, result.output
    assert "the schema of job is that of a newer version: nothing was changed" in result.stderr
    assert revision(url) == REVISION
    embedded_servers.drop_database(postgres.url, url)
