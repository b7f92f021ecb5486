"""The files that take the longest start first when the whole suite runs."""

from types import SimpleNamespace

from tests.conftest import ROOT, STARTED_FIRST, pytest_collection_modifyitems


def test_long_files_start_first_and_the_others_keep_their_order() -> None:
    others = ["tests/attacks/test_ports.py", "tests/unit/test_fakes.py", "tests/e2e/test_trace.py"]
    items = [SimpleNamespace(path=ROOT / path) for path in (*others, *reversed(STARTED_FIRST))]

    pytest_collection_modifyitems(items)  # type: ignore[arg-type]

    assert [str(item.path.relative_to(ROOT)) for item in items] == [*STARTED_FIRST, *others]


def test_the_files_that_start_first_exist() -> None:
    assert [path for path in STARTED_FIRST if not (ROOT / path).is_file()] == []


def test_the_workers_keep_that_order() -> None:
    """By default, xdist starts the files with the most tests first, and those with one long test last."""
    assert "--dist loadfile --no-loadscope-reorder" in (ROOT / "Makefile").read_text(encoding="utf-8")
