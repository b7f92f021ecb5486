"""How long a claim takes, however many jobs and tenants wait.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.claims`
"""

import statistics
import tempfile
import time
from pathlib import Path

from tests.support.job_service.use_cases import JobUseCases, use_cases_at
from tests.support.servers import embedded_servers

#: Tenants that wait, and jobs of each.
WAITING = ((1, 1), (100, 10), (1_000, 10), (5_000, 4), (20_000, 4), (1, 100_000))
#: Jobs of one claim, and how many claims are measured.
SIZES = ((1, 40), (16, 10), (64, 4))
FILL = """
INSERT INTO jobs (id, tenant, state, sequence, priority, provider, model, image_count, request, metadata, claim_number,
    attempt_count, retry_count, failure_counts, user_consents, run_at, queued_at, queued_seconds, warnings, created_at,
    updated_at)
SELECT 'job_' || md5(tenant || '/' || number), 'tenant-' || tenant, 'queued', 1, 1, 'procedural', 'v1', 1,
    '{"prompt": "x"}', '{}', 0, 0, 0, '{}', false, now(), now(), 0, '[]', now(), now()
FROM generate_series(1, :tenants) AS tenant, generate_series(1, :each) AS number
"""


def claims(desk: JobUseCases, size: int, count: int) -> list[float]:
    """Milliseconds that each of so many claims took."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        desk.claim(size)
        taken.append(1_000 * (time.perf_counter() - began))
    return taken


def main() -> None:
    """Run it."""
    with tempfile.TemporaryDirectory() as folder, embedded_servers.postgres_server(Path(folder)) as server:
        template = embedded_servers.make_template(server.url)
        for tenants, each in WAITING:
            with use_cases_at(embedded_servers.copy_database(server.url, template)) as desk:
                desk.sql(FILL, tenants=tenants, each=each)
                desk.sql("ANALYZE")
                claims(desk, 1, 3)
                told = []
                for size, count in SIZES:
                    taken = claims(desk, size, count)
                    told.append(f"{size} jobs {statistics.median(taken):.1f} ms (best {min(taken):.1f})")
                print(f"{tenants:,} tenants with {each:,} jobs each: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
