"""Migrations only expand: while one runs, and after it, the version before goes on as it was (docs/upgrades.md)."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "services").glob("*/migrations/versions/[0-9]*.py"))
#: What the version before, or a service that runs, would not survive.
FORBIDDEN = {
    "removes something": r"\bDROP\s+(?!INDEX CONCURRENTLY)\S+",
    "renames something": r"\bRENAME\b",
    "changes a column": r"\bALTER COLUMN\s+\S+\s+(?:SET DATA )?TYPE\b",
    "requires a column": r"\bALTER COLUMN\s+\S+\s+SET NOT NULL\b",
    # Rows are inserted whole, of JSON: a column that a program does not know is null, whatever its default is.
    "adds a column that may not be null": r"\bADD COLUMN\b[^,;]*\bNOT NULL\b",
    "checks a whole table under its lock": r"\bADD CONSTRAINT\b(?![^;]*\bNOT VALID\b)",
    "locks a table": r"\bLOCK TABLE\b",
}
#: What is older than these rules, or right for another reason.
EXCEPTIONS = {
    # No version before it was ever in use.
    ("job/0003", "adds a column that may not be null"),
    # Only triggers write the table.
    ("job/0019", "adds a column that may not be null"),
}
TABLE = r"\bCREATE TABLE (?:IF NOT EXISTS )?(\w+)"
INDEX = r"\bCREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)[^;]*?\bON (\w+)"


def breaches(statements: str) -> Iterator[str]:
    """What a migration must not do, in the words of `FORBIDDEN`."""
    plain = re.sub(r"--[^\n]*", "", statements)
    yield from (what for what, pattern in FORBIDDEN.items() if re.search(pattern, plain, re.IGNORECASE))
    new = re.findall(TABLE, plain, re.IGNORECASE)
    if any(table not in new for table in re.findall(INDEX, plain, re.IGNORECASE)):
        yield "blocks writers while it builds an index"


def test_no_migration_breaks_the_version_before() -> None:
    found = {
        (f"{file.parents[2].name}/{file.name[:4]}", what)
        for file in FILES
        for what in breaches(file.read_text(encoding="utf-8"))
    }

    assert found == EXCEPTIONS


def test_they_are_numbered_without_a_gap_and_have_no_way_back() -> None:
    for file in FILES:
        assert "def downgrade" not in file.read_text(encoding="utf-8"), file
    for before, after in pairwise(FILES):
        if before.parent == after.parent:
            assert int(after.name[:4]) == int(before.name[:4]) + 1
            assert f'down_revision = "{before.name[:4]}"' in after.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("statements", "what"),
    [
        ("ALTER TABLE jobs DROP COLUMN tenant", "removes something"),
        ("DROP TABLE jobs", "removes something"),
        ("DROP INDEX jobs_by_age", "removes something"),
        ("ALTER TABLE jobs RENAME COLUMN tenant TO customer", "renames something"),
        ("ALTER TABLE jobs ALTER COLUMN tenant TYPE uuid", "changes a column"),
        ("ALTER TABLE jobs ALTER COLUMN model SET NOT NULL", "requires a column"),
        (
            "ALTER TABLE jobs ADD COLUMN a text, ADD COLUMN b text NOT NULL DEFAULT ''",
            "adds a column that may not be null",
        ),
        ("ALTER TABLE jobs ADD CONSTRAINT one CHECK (n > 0)", "checks a whole table under its lock"),
        ("CREATE TABLE a (b text); CREATE UNIQUE INDEX c ON jobs (tenant)", "blocks writers while it builds an index"),
    ],
)
def test_a_breach_is_found(statements: str, what: str) -> None:
    assert list(breaches(statements)) == [what]


@pytest.mark.parametrize(
    "statements",
    [
        "ALTER TABLE jobs ADD COLUMN IF NOT EXISTS a text; -- NOT NULL would be wrong",
        "CREATE TABLE a (b text NOT NULL); CREATE INDEX c ON a (b)",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS c ON jobs (tenant)",
        "DROP INDEX CONCURRENTLY c",
        "ALTER TABLE jobs ADD CONSTRAINT one CHECK (n > 0) NOT VALID",
    ],
)
def test_what_expands_is_allowed(statements: str) -> None:
    assert list(breaches(statements)) == []
