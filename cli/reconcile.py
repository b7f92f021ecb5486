"""`calotype reconcile`: prepares a database that was restored from a backup, before services start on it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import click
from calotype import object_names
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from cli.environment import read
from cli.errors import CommandFailed, ExitCode
from common.object_store import ObjectStore, StorageDenied, StorageUnavailable
from common.postgres import open_pool
from common.sql import transaction
from services.job.application import restored_jobs
from services.job.application.restored_jobs import RestoredPage
from services.job.migrations import MIGRATIONS

#: Folders of staging that are listed at once.
LISTS = 16


@dataclass(frozen=True, kw_only=True)
class _Settings:
    #: URL of the restored database, with job-service's role; empty where none is named.
    database_url: str = field(default="", metadata={"secret": True})
    #: The staging bucket; empty: images that the database has forgotten are not looked for.
    staging_bucket: str = ""


@click.command()
@click.option("--preview", is_flag=True, help="Count the jobs and calls, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def reconcile(preview: bool, as_json: bool) -> int:
    """Prepare a restored database, so that nothing is paid twice.

    The database is that of CALOTYPE_DATABASE_URL. No service may run. With CALOTYPE_STAGING_BUCKET, images that were
    made since the backup are found there. Running it again changes nothing.
    """
    settings = read(_Settings)
    if not settings.database_url:
        raise CommandFailed("CALOTYPE_DATABASE_URL must name the restored database.", ExitCode.USAGE)
    engine = open_pool(settings.database_url, poolclass=NullPool, connect_args={"connect_timeout": 5})
    try:
        _require_ready(engine)
        counts = asyncio.run(_reconcile(engine, settings.staging_bucket, is_preview=preview))
    except SQLAlchemyError as error:
        reason = str(error).strip().splitlines()[0]
        raise CommandFailed(f"The database could not be reconciled: {reason}", ExitCode.NOT_REACHABLE) from error
    except (StorageUnavailable, StorageDenied) as error:
        raise CommandFailed(f"The staging bucket could not be listed: {error}", ExitCode.NOT_REACHABLE) from error
    finally:
        engine.dispose()
    click.echo(json.dumps(asdict(counts)) if as_json else _as_text(counts, is_preview=preview))
    return ExitCode.DONE


def _require_ready(engine: Engine) -> None:
    with transaction(engine) as connection:
        if MIGRATIONS.is_behind(connection):
            raise CommandFailed("The schema is older than this program: run `calotype migrate` first.")
        if restored_jobs.is_in_use(connection):
            raise CommandFailed("A job-service is connected to the database: stop all services first.")


async def _reconcile(engine: Engine, bucket: str, *, is_preview: bool) -> RestoredPage:
    """Works page by page, each in one transaction; returns the sums."""
    staging = ObjectStore(bucket, threads=LISTS) if bucket else None
    total, after = RestoredPage(), ""
    try:
        while True:
            with transaction(engine) as connection:
                ids = restored_jobs.next_ids(connection, after)
            if not ids:
                return total
            # Nothing is locked while the bucket is listed.
            found = {} if staging is None else await _calls_in(staging, ids)
            with transaction(engine) as connection:
                page = restored_jobs.assume_calls(connection, ids, found, is_preview=is_preview)
            total, after = total.plus(page), ids[-1]
    finally:
        if staging is not None:
            await staging.close()


async def _calls_in(staging: ObjectStore, job_ids: Sequence[str]) -> dict[str, list[str]]:
    """Returns the ids of calls that have objects in staging, by job id."""
    lists = await asyncio.gather(*(staging.find(object_names.staged_folder(job_id)) for job_id in job_ids))
    return {
        job_id: sorted({call_id for info in infos if (call_id := object_names.call_of_staged(info.name)) is not None})
        for job_id, infos in zip(job_ids, lists, strict=True)
    }


def _as_text(counts: RestoredPage, *, is_preview: bool) -> str:
    verb = "would be" if is_preview else "are"
    return (
        f"{counts.open_jobs} open and {counts.failed_jobs} failed jobs may have been paid for since the backup: "
        f"none {verb} paid for again without consent\n"
        f"{counts.calls} calls {verb} in the ledger as unknown, {counts.found} of them with an image in staging"
    )
