"""Compares the lock files with advisories that are kept in the repository, without a network.

`python -m tests.support.checks.advisories` prints the affected packages; with a folder of files in OSV's format it
first stores the advisories that concern a locked package.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

REQUIREMENTS = Path(__file__).parents[3] / "requirements"
KEPT = REQUIREMENTS / "advisories.json"
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\\s]+)", re.MULTILINE)


def locked(folder: Path = REQUIREMENTS) -> set[tuple[str, str]]:
    """Names and versions of all lock files."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.txt"))
    return {(_name(name), version) for name, version in _LOCKED.findall(text)}


def affected(packages: Iterable[tuple[str, str]], advisories: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each package that an advisory concerns."""
    known = list(advisories)
    return sorted(
        f"{name} {version}: {', '.join([advisory['id'], *advisory.get('aliases', ())])}"
        for name, version in packages
        for advisory in known
        if any(_concerns(package, name, Version(version)) for package in advisory.get("affected", ()))
    )


def relevant(folder: Path, packages: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """The advisories of a folder that concern a locked package in some version and were not withdrawn, by id."""
    names = {name for name, _ in packages}
    advisories = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.json"))]
    fields = ("id", "aliases", "affected")
    return [
        {field: advisory[field] for field in fields if field in advisory}
        for advisory in sorted(advisories, key=lambda advisory: str(advisory["id"]))
        if "withdrawn" not in advisory and any(_package_of(each) in names for each in advisory.get("affected", ()))
    ]


def _concerns(package: Mapping[str, Any], name: str, version: Version) -> bool:
    if _package_of(package) != name:
        return False
    ranges = [entry["events"] for entry in package.get("ranges", ()) if entry["type"] == "ECOSYSTEM"]
    return str(version) in package.get("versions", ()) or any(_is_within(events, version) for events in ranges)


def _package_of(affected_package: Mapping[str, Any]) -> str | None:
    package = affected_package.get("package", {})
    return _name(package["name"]) if package.get("ecosystem") == "PyPI" else None


def _is_within(events: Iterable[Mapping[str, str]], version: Version) -> bool:
    """Returns whether a version lies in a range; the last event at or before it decides."""
    is_within = False
    for event in sorted(events, key=lambda event: _version(next(iter(event.values())))):
        [(kind, version_text)] = event.items()
        if kind == "introduced" and version >= _version(version_text):
            is_within = True
        if (kind == "fixed" and version >= _version(version_text)) or (
            kind == "last_affected" and version > _version(version_text)
        ):
            is_within = False
    return is_within


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def main(arguments: list[str]) -> int:
    """Stores the advisories of a given folder, then compares; returns the exit code."""
    packages = locked()
    if arguments:
        lines = ",\n".join(f"  {json.dumps(advisory)}" for advisory in relevant(Path(arguments[0]), packages))
        KEPT.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    known = json.loads(KEPT.read_text(encoding="utf-8"))
    lines_of_affected = affected(packages, known)
    for line in lines_of_affected:
        print(line, file=sys.stderr)
    print(f"{len(packages)} locked packages, {len(known)} advisories: {len(lines_of_affected)} concern them")
    return 1 if lines_of_affected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
