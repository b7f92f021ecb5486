"""The statements of docs/runbook.md run on job-service's database, with its own role."""

import re
from pathlib import Path

from tests.support.job_service.use_cases import JobUseCases

PAGE = (Path(__file__).parents[3] / "docs" / "runbook.md").read_text(encoding="utf-8")


def test_the_statements_run_and_count_what_the_ledger_has(desk: JobUseCases) -> None:
    job = desk.upload()
    [(provider,)] = desk.sql("SELECT provider FROM jobs WHERE id = :id", id=job.id)
    statements = re.findall(r"^```sql\n(.*?);\n```", PAGE, re.MULTILINE | re.DOTALL)
    for name, value in (("NAME", provider), ("2026-11-01", "2000-01-01"), ("2026-12-01", "2200-01-01")):
        statements = [statement.replace(f"'{name}'", f"'{value}'") for statement in statements]
    totals, unknown, sessions = (desk.sql(statement) for statement in statements)

    assert [(row.phase, row.calls, row.images) for row in totals] == [("succeeded", 1, 1)]
    assert (unknown, sessions) == ([], [])
