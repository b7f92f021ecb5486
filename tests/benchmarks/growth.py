"""Part (e): how long each question takes with more jobs, more tenants, and under an old snapshot.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.growth --queued 100000 --tenants 1000 [--finished 1000000]`

Each operation is the use case that the service calls, in a transaction of its own with its COMMIT, without gRPC.
Besides milliseconds, rows that PostgreSQL read are counted: they do not depend on the load of the machine.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from calotype.error_reasons import Code

from common.sql import Connection, text
from services.job.application import claims, queries, stale_jobs
from services.job.loops import purger
from services.job.store import outbox, queue
from services.job.store.listing import Filters
from tests.benchmarks import many_rows
from tests.benchmarks.many_rows import TENANT
from tests.benchmarks.results import Measurement, number, title
from tests.support.job_service.use_cases import JobUseCases, open_transaction, use_cases_at
from tests.support.servers import embedded_servers

Operation = Callable[[Connection], Any]
#: Queued jobs and tenants of a whole run; with more tenants than jobs there is nothing to see.
QUEUED, TENANTS = (1_000, 10_000, 100_000, 1_000_000), (1, 1_000, 10_000)
#: Repetitions of an operation; each purge finds as many jobs as its batch.
SAMPLES, PURGED = 15, 10
#: Jobs that run from the beginning to the end while a snapshot is held.
CHURN = 500
FILTERS: Mapping[str, Mapping[str, Any]] = {
    "no filter": {},
    "status": {"states": ("failed",)},
    "provider": {"provider": "paid"},
    "failure stage": {"failure_stage": "generating"},
    "failure code": {"failure_code": Code.TEMPORARY},
    "end user": {"end_user": "rare"},
    "metadata": {"metadata": {"rare": "yes"}},
    "metadata that none has": {"metadata": {"rare": "no"}},
    "created before": {"created_before": datetime.now(UTC) - timedelta(days=100)},
}
# Entries of indexes, and rows of tables that are read without one.
ROWS_READ = """
SELECT (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes)
    + (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables) AS n
"""


def operations(desk: JobUseCases) -> dict[str, Operation]:
    """Returns every operation by its name. Claims come last, as they change the queue."""
    ids = many_rows.known_jobs(desk)

    def claim(size: int) -> Operation:
        return lambda c: claims.claim_jobs(
            c,
            worker="w",
            tokens=[uuid4() for _ in range(size)],
            providers=("procedural", "paid"),
            limits=desk.limits,
        )

    def get(name: str) -> Operation:
        return lambda c: queries.get_job(c, TENANT, ids[name])

    def page(filters: Mapping[str, Any]) -> Operation:
        return lambda c: queries.list_jobs(c, Filters(tenant=TENANT, **filters), page_size=20, page_token="")

    return {
        "submit": lambda c: desk.on(c).create(tenant=TENANT),
        "relay 1": _relay,
        "get, finished": get("finished"),
        "get, position at the front": get("front"),
        "get, position at the back": get("back"),
        **{f"list, {name}": page(filters) for name, filters in FILTERS.items()},
        "operator's queue": queue.count,
        "monitor tick": lambda c: stale_jobs.candidates(c, desk.limits),
        f"purge {PURGED}": lambda c: purger.purge_jobs(c, seconds=86_400 * 90, limit=PURGED),
        "claim 1": claim(1),
        "claim 16": claim(16),
    }


def _relay(connection: Connection) -> None:
    """What the relay does with the messages of one job that was submitted before, but for publishing them."""
    due = outbox.claim(connection, limit=1, seconds=5)
    outbox.delete(connection, [row.id for row in due])


def time_all(desk: JobUseCases, named: Mapping[str, Operation], samples: int) -> Iterator[tuple[str, list[float], int]]:
    """Yields each operation with its milliseconds, and the rows that it read in its last run."""
    for name, operation in named.items():
        desk.run(operation)
        taken = []
        for _ in range(samples):
            began = time.perf_counter()
            desk.run(operation)
            taken.append(1000 * (time.perf_counter() - began))
        yield name, taken, _rows_read(desk, operation)


def _rows_read(desk: JobUseCases, operation: Operation) -> int:
    def report(work: Operation) -> None:
        desk.run(lambda c: (work(c), c.execute(text("SELECT pg_stat_force_next_flush()"))))

    report(lambda c: None)
    [before] = desk.sql(ROWS_READ)
    report(operation)
    [after] = desk.sql(ROWS_READ)
    return int(after.n - before.n)


def measurements(
    desk: JobUseCases, named: Mapping[str, Operation], samples: int, **labels: str | int
) -> list[Measurement]:
    """Measures operations under one circumstance."""
    found = []
    for name, taken, rows in time_all(desk, named, samples):
        found.append(Measurement(part="growth", name=name, unit="ms", values=taken, labels=labels))
        found.append(Measurement(part="growth, rows read", name=name, unit="rows", values=[rows], labels=labels))
    return found


def run(
    *, queued: Sequence[int], tenants: Sequence[int], finished: int = 0, samples: int = SAMPLES, churn: int = CHURN
) -> list[Measurement]:
    """Measures every combination that has a job for each tenant, then the effect of an old snapshot."""
    found: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder, embedded_servers.postgres_server(Path(folder)) as server:
        template = embedded_servers.make_template(server.url)
        for jobs, owners in ((jobs, owners) for owners in tenants for jobs in queued if owners <= jobs):
            labels = {"queued": jobs, "tenants": owners} | ({"finished": finished} if finished else {})
            url = embedded_servers.copy_database(server.url, template)
            with use_cases_at(url) as desk:
                over = (samples + 2) * PURGED
                many_rows.fill(desk, queued=jobs, tenants=owners, finished=finished, over=over)
                many_rows.vacuum(url)
                print(f"growth: {labels}", flush=True)
                found += measurements(desk, operations(desk), samples, **labels)
            embedded_servers.drop_database(server.url, url)
        url = embedded_servers.copy_database(server.url, template)
        with use_cases_at(url) as desk:
            found += under_old_snapshot(desk, url, churn=churn, samples=samples)
    return found


def under_old_snapshot(desk: JobUseCases, url: str, *, churn: int, samples: int) -> list[Measurement]:
    """Measures after so many jobs ran, then after as many while a transaction keeps their dead rows."""
    many_rows.fill(desk, queued=5_000, tenants=10, finished=0, over=2 * (samples + 2) * PURGED)
    found = list[Measurement]()

    def work() -> None:
        for _ in range(churn):
            many_rows.complete(desk)
            desk.run(_relay)
        many_rows.vacuum(url)

    work()
    found += measurements(desk, operations(desk), samples, snapshot=f"none, {churn:,} jobs ran")
    with open_transaction(desk, _hold_snapshot):
        work()
        found += measurements(desk, operations(desk), samples, snapshot=f"older than {churn:,} jobs")
    return found


def _hold_snapshot(connection: Connection) -> None:
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    connection.execute(text("SELECT count(*) FROM jobs"))


def main() -> None:
    """Runs one circumstance alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--finished", type=int, default=0)
    options = parser.parse_args()
    for one in run(queued=[options.queued], tenants=[options.tenants], finished=options.finished):
        print(f"{title(one)}: {number(one.median)} {one.unit} {one.spread}")


if __name__ == "__main__":
    main()
