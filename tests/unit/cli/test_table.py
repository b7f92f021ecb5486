"""Tables fit on a terminal, and are whole in a pipe."""

import sys

import click
import pytest

from cli.table import print_table

ROWS = [("job_01a219cfd96e713d9a3b5c7d9e1f2a4b", "ready", "a prompt " * 20), ("job_2", "ended", "湖 " * 60)]


@pytest.fixture(params=[60, 80, 132])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Columns of the terminal."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def test_a_table_fits_on_a_terminal_with_whole_ids(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("job", "state", "prompt"), ROWS, colors={"ready": "green"})

    shown = capsys.readouterr().out
    lines = click.unstyle(shown).splitlines()
    assert max(len(line) for line in lines[:2]) <= width
    assert len(lines[2].partition("湖")[0]) + 2 * lines[2].count("湖") + lines[2].count(" 湖") <= width + 2
    assert ROWS[0][0] in lines[1]
    assert "\x1b[32mready" in shown
    assert "\x1b[" not in shown.splitlines()[2].replace("\x1b[0m", "")


def test_a_table_is_whole_in_a_pipe(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("job", "state", "prompt"), ROWS, colors={"ready": "green"})

    assert f"{ROWS[0][0]}  ready  {ROWS[0][2].strip()}\n" in capsys.readouterr().out
