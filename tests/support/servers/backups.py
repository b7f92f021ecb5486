"""Backups of a database, made and restored with the programs of PostgreSQL."""

import subprocess
from pathlib import Path

from cli.stack.postgres import binaries
from tests.support.patience import PATIENCE


def dump(url: str, file: Path) -> None:
    """Writes a backup of a database, which may be in use."""
    _run("pg_dump", "--format=custom", f"--file={file}", url)


def restore(file: Path, url: str) -> None:
    """Replaces the content of a database with that of a backup."""
    _run("pg_restore", "--clean", "--if-exists", "--exit-on-error", f"--dbname={url}", str(file))


def _run(program: str, *arguments: str) -> None:
    subprocess.run([str(binaries() / program), *arguments], check=True, timeout=PATIENCE, capture_output=True)
