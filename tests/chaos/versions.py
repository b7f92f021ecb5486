"""Two versions side by side: this one, and that of another checkout, by whose code a part of the processes run."""

import os
import subprocess
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from cli.stack import database
from cli.stack.child import Program
from tests.chaos import programs

#: In which order services are replaced by a newer version, see docs/upgrades.md.
ORDER = ("job", "generator", "uploader", "notifier", "gateway")


def check_out(ref: str, folder: Path) -> Path:
    """Puts the files of a commit into a new folder, to be run with what is installed here; returns the folder.

    Raises `CalledProcessError`.
    """
    archive = subprocess.run(["git", "-C", str(programs.ROOT), "archive", ref], check=True, stdout=subprocess.PIPE)
    folder.mkdir()
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    (folder / ".venv").symlink_to(programs.ROOT / ".venv")
    return folder


class Versions:
    """Which code each process runs; with `upgrades`, everything begins as the other version, which is the older one."""

    def __init__(self, other: Path | None, *, upgrades: bool) -> None:
        self._other = other
        self._upgrades = upgrades
        self._database_urls: Mapping[str, str] = {}
        #: What each process changes to at its next change, and back.
        self._changes: dict[str, Program] = {}
        #: What each process is replaced by for good.
        self._newer: dict[str, Program] = {}

    def prepare_database(self, admin_url: str) -> dict[str, str]:
        """Makes the database, with the schema of the version that everything begins with; returns URLs by service."""
        passwords = dict.fromkeys(database.ROLES, "chaos")
        if self._other is None or not self._upgrades:
            return database.prepare(admin_url, passwords)
        urls = database.make_roles(admin_url, passwords)
        for service, url in urls.items():
            _migrate_by(self._other, service, url)
        self._database_urls = urls
        return urls

    def begin(self, own: Mapping[str, Program]) -> dict[str, Program]:
        """Services' programs as they begin, by process; `own` are those of this version."""
        if self._other is None:
            return dict(own)
        others = {
            name: programs.of_version(self._other, program)
            for name, program in own.items()
            if programs.is_of_version(self._other, program)
        }
        if not self._upgrades:
            self._changes = others
            return dict(own)
        self._newer = {name: own[name] for name in others}
        return {**own, **others}

    def change(self, name: str, program: Program) -> Program:
        """What a process runs next: the version that `program` is not, if services change to and fro."""
        other = self._changes.get(name, program)
        if name in self._changes:
            self._changes[name] = program
        return other

    def migrate(self) -> None:
        """Migrates both schemas to this version, while the older one runs."""
        for service, url in self._database_urls.items():
            database.UPGRADES[service](url)

    def older(self) -> list[str]:
        """Processes of the older version, in the order in which they are replaced."""
        return sorted(self._newer, key=lambda name: (ORDER.index(name.partition("-")[0]), name))

    def replace(self, name: str) -> Program:
        """What a process of the older version runs from its next start on."""
        return self._newer.pop(name)


def _migrate_by(checkout: Path, service: str, url: str) -> None:
    """As its operator does."""
    path = os.pathsep.join((str(checkout), str(checkout / "proto")))
    command = [str(checkout / ".venv" / "bin" / "python"), "-P", "-m", "cli", "migrate", "--service", service]
    subprocess.run(
        command, check=True, cwd=checkout, env={**os.environ, "PYTHONPATH": path, "CALOTYPE_DATABASE_URL": url}
    )
