"""A database that was restored has forgotten calls: their images are found in staging, and bought again by nobody."""

import asyncio
from pathlib import Path

import pytest
from calotype.error.v1 import error_pb2
from click.testing import CliRunner

from cli.__main__ import main
from tests.support.processes import generator_environment
from tests.support.processes.generator_environment import World
from tests.support.servers import backups, embedded_servers
from tests.support.servers.embedded_servers import Server


async def test_what_was_bought_since_the_backup_is_delivered_or_asked_for(
    process: World,
    postgres: Server,
    database_url: str,
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = "bought since the backup", "two of them"
    with_one = process.desk.add(provider="paid", prompt=one)
    with_two = process.desk.add(provider="paid", prompt=two, n=2)
    backups.dump(database_url, tmp_path / "backup")
    process.start()
    made = {(fact := await process.next_fact()).images_generated.fence.job_id: fact for _ in range(2)}
    assert made.keys() == {with_one, with_two}
    for child in process.children:
        child.kill()
    bought = len(process.books.created)

    restored = embedded_servers.copy_database(postgres.url, template)
    backups.restore(tmp_path / "backup", restored)
    monkeypatch.setenv("CALOTYPE_DATABASE_URL", restored)
    monkeypatch.setenv("CALOTYPE_STAGING_BUCKET", process.proxy.staging)
    async with generator_environment.opened(
        restored, nats=process.nats, proxy=process.proxy, books=process.books, folder=tmp_path
    ) as after:
        reconciled = await asyncio.to_thread(CliRunner().invoke, main, ["reconcile"])
        assert reconciled.exit_code == 0, reconciled.output
        after.start()
        facts = [await after.next_fact() for _ in range(2)]

    [found] = [fact.images_generated for fact in facts if fact.HasField("images_generated")]
    [asked] = [fact.stage_failed for fact in facts if fact.HasField("stage_failed")]
    assert found.fence.job_id == with_one
    assert [image.staged.name for image in found.images] == [
        image.staged.name for image in made[with_one].images_generated.images
    ]
    assert (asked.fence.job_id, asked.failure.reason) == (with_two, error_pb2.REASON_AMBIGUOUS_OUTCOME)
    assert len(process.books.created) == bought
    embedded_servers.drop_database(postgres.url, restored)
