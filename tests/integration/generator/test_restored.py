"""A database that was restored has forgotten calls: their images are found in staging, and bought again by nobody."""

import asyncio
import re
from pathlib import Path

import pytest
from calotype import object_names
from calotype.error.v1 import error_pb2
from click.testing import CliRunner

from cli.__main__ import main
from tests.support.processes import generator_environment
from tests.support.processes.generator_environment import World
from tests.support.servers import backups, embedded_servers
from tests.support.servers.embedded_servers import Server

DOCS = (Path(__file__).parents[3] / "docs" / "backups.md").read_text(encoding="utf-8")
#: Job, index and call of each image that may be published.
[CALLS_OF_IMAGES] = re.findall(r'"(SELECT DISTINCT ON[^"]+)"', DOCS)


async def test_what_was_bought_since_the_backup_is_delivered_or_asked_for(
    process: World,
    postgres: Server,
    database_url: str,
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_one = process.desk.add(provider="paid", prompt="bought since the backup")
    with_two = process.desk.add(provider="paid", prompt="two of them", n=2)
    completed = process.desk.add(provider="paid", prompt="published since", n=2)
    backups.dump(database_url, tmp_path / "backup")
    process.start()
    made = {(fact := await process.next_fact()).images_generated.fence.job_id: fact for _ in range(3)}
    assert made.keys() == {with_one, with_two, completed}
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
        # By hand: what was published is put where the next claim reads results that could not be delivered.
        images = {image.index: image for image in made[completed].images_generated.images}
        for job_id, index, call_id in after.desk.jobs.sql(CALLS_OF_IMAGES):
            if job_id == completed:
                name = f"{object_names.raw_folder(job_id=job_id, call_id=call_id)}{index}"
                data = await after.staging.get(images.pop(index).staged.name)
                await after.staging.put(name, data, content_type="application/octet-stream", metadata={})
        assert not images
        after.start()
        facts = [await after.next_fact() for _ in range(3)]

    generated = {
        fact.images_generated.fence.job_id: fact.images_generated for fact in facts if fact.HasField("images_generated")
    }
    assert generated.keys() == {with_one, completed}
    assert [image.sha256 for image in generated[completed].images] == [
        image.sha256 for image in made[completed].images_generated.images
    ]
    found = generated[with_one]
    [asked] = [fact.stage_failed for fact in facts if fact.HasField("stage_failed")]
    assert [image.staged.name for image in found.images] == [
        image.staged.name for image in made[with_one].images_generated.images
    ]
    assert (asked.fence.job_id, asked.failure.reason) == (with_two, error_pb2.REASON_AMBIGUOUS_OUTCOME)
    assert len(process.books.created) == bought
    embedded_servers.drop_database(postgres.url, restored)
