"""The database schema of notifier-service."""

from pathlib import Path

from common.migrations import Migrations

MIGRATIONS = Migrations(
    Path(__file__).parent / "versions",
    lock=0x0CA10E,
    table="webhook_endpoints",
    owner="the notifier",
    in_first_schema=True,
)
