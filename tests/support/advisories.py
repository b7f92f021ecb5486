"""Compares the lock files with advisories that are kept in the repository, without a network.

`python -m tests.support.advisories` names what is affected; with a folder of files in OSV's format it first takes over
those that concern a locked package.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
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
        f"{name} {version}: {', '.join([one['id'], *one.get('aliases', ())])}"
        for name, version in packages
        for one in known
        if any(_concerns(each, name, Version(version)) for each in one.get("affected", ()))
    )


def taken_over(folder: Path, packages: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """The advisories of a folder that concern a locked package in some version and were not withdrawn, by id."""
    names = {name for name, _ in packages}
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.json"))]
    fields = ("id", "aliases", "affected")
    return [
        {field: one[field] for field in fields if field in one}
        for one in sorted(found, key=lambda one: str(one["id"]))
        if "withdrawn" not in one and any(_package_of(each) in names for each in one.get("affected", ()))
    ]


def _concerns(each: Mapping[str, Any], name: str, version: Version) -> bool:
    if _package_of(each) != name:
        return False
    ranges = [one["events"] for one in each.get("ranges", ()) if one["type"] == "ECOSYSTEM"]
    return str(version) in each.get("versions", ()) or any(_is_within(events, version) for events in ranges)


def _package_of(each: Mapping[str, Any]) -> str | None:
    package = each.get("package", {})
    return _name(package["name"]) if package.get("ecosystem") == "PyPI" else None


def _is_within(events: Iterable[Mapping[str, str]], version: Version) -> bool:
    """Whether a version lies in a range: the last event at or before it says so."""
    is_within = False
    for event in sorted(events, key=lambda one: _version(next(iter(one.values())))):
        [(kind, told)] = event.items()
        if kind == "introduced" and version >= _version(told):
            is_within = True
        if (kind == "fixed" and version >= _version(told)) or (kind == "last_affected" and version > _version(told)):
            is_within = False
    return is_within


def _version(told: str) -> Version:
    try:
        return Version(told)
    except InvalidVersion:
        return Version("0")


def _name(told: str) -> str:
    return re.sub(r"[-_.]+", "-", told).lower()


def main(arguments: list[str]) -> int:
    """Take over what is given, then compare."""
    packages = locked()
    if arguments:
        lines = ",\n".join(f"  {json.dumps(one)}" for one in taken_over(Path(arguments[0]), packages))
        KEPT.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    known = json.loads(KEPT.read_text(encoding="utf-8"))
    found = affected(packages, known)
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(packages)} locked packages, {len(known)} advisories: {len(found)} concern them")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
