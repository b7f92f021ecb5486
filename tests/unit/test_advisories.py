"""A locked package that an advisory concerns is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.checks import advisories


def advisory(*events: dict[str, str], name: str = "Some.Package", **more: Any) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": name}
    return {"id": "A-1", "aliases": ["CVE-1"], "affected": [{"package": package, "ranges": _ranges(events)}], **more}


def _ranges(events: tuple[dict[str, str], ...]) -> list[dict[str, Any]]:
    return [{"type": "ECOSYSTEM", "events": [*events]}] if events else []


BETWEEN = advisory({"introduced": "1.2"}, {"fixed": "1.10"})


@pytest.mark.parametrize(("version", "hit"), [("1.1", False), ("1.2", True), ("1.9.post1", True), ("1.10", False)])
def test_a_version_in_a_range_is_named(version: str, hit: bool) -> None:
    found = advisories.affected([("some-package", version), ("other", version)], [BETWEEN])

    assert found == ([f"some-package {version}: A-1, CVE-1"] if hit else [])


def test_a_range_may_have_several_parts_and_an_end_that_is_affected() -> None:
    twice = advisory({"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"last_affected": "2.3"})
    versions = ("1.4", "1.5", "2.0", "2.3", "2.4")

    assert [bool(advisories.affected([("some-package", one)], [twice])) for one in versions] == [
        *(True, False, True, True, False)
    ]


def test_no_locked_package_is_concerned_by_an_advisory_that_is_kept() -> None:
    known = json.loads(advisories.KEPT.read_text(encoding="utf-8"))
    packages = advisories.locked()
    names = {name for name, _ in packages}

    assert advisories.affected(packages, known) == []
    # Each would be noticed: what it concerns is locked, in another version.
    assert {each["package"]["name"] for one in known for each in one["affected"]} <= names
    assert advisories.affected([("urllib3", "2.5.0"), ("h11", "0.14.0")], known)


def test_of_a_folder_what_concerns_locked_packages_is_taken_over(tmp_path: Path) -> None:
    told = {
        "one": BETWEEN | {"id": "A-2", "details": "long"},
        "withdrawn": BETWEEN | {"withdrawn": "2026-01-01T00:00:00Z"},
        "of another": advisory({"introduced": "0"}, name="other"),
    }
    for name, one in told.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(one), encoding="utf-8")

    assert [one["id"] for one in advisories.relevant(tmp_path, [("some-package", "1")])] == ["A-2"]
    assert "details" not in advisories.relevant(tmp_path, [("some-package", "1")])[0]
