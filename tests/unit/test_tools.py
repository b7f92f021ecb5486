"""What becomes of a test whose program is there, and of one whose program is missing."""

import sys
from pathlib import Path

import pytest

from tests.support.required_tools import need, need_libraries


def _program(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    made = folder / name
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    return made


def test_the_environment_s_own_program_comes_before_the_system_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs, ours = _program(tmp_path / "system", "kubectl"), _program(tmp_path / "environment", "kubectl")
    monkeypatch.setenv("PATH", str(theirs.parent))
    monkeypatch.setattr(sys, "executable", str(ours.with_name("python")))
    first = need("kubectl", install="it")
    ours.unlink()

    assert (first, need("kubectl", install="it")) == (str(ours), str(theirs))


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_program_fails_in_ci_and_skips_elsewhere(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="no-such-program is missing: install it"):
        need("no-such-program", install="install it")


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_library_fails_in_ci_and_skips_elsewhere(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="no_such_library, nor_this is missing: install them"):
        need_libraries("json", "no_such_library", "nor_this", install="install them")


def test_libraries_that_are_there_are_no_reason_to_skip() -> None:
    need_libraries("json", "pytest", install="never said")
