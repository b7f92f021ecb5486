"""The database schema of job-service."""

from pathlib import Path

from common.migrations import Migrations

MIGRATIONS = Migrations(
    Path(__file__).parent / "versions", lock=0x0CA107, table="jobs", owner="job-service", in_first_schema=False
)
