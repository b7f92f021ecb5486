"""What `calotype` says of itself."""

import re
from collections.abc import Iterator

import calotype
import click
import pytest
from click.testing import CliRunner

from cli.__main__ import main


def groups(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """The paths of all groups of commands."""
    if isinstance(command, click.Group):
        yield path
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from groups(below, *path, name)


@pytest.mark.parametrize("path", list(groups(main)), ids=" ".join)
def test_the_list_of_commands_is_whole_on_eighty_columns(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*path, "-h"], terminal_width=80)

    assert shown.exit_code == 0
    assert "..." not in shown.stdout.partition("Commands:")[2]


def test_the_version_is_that_of_the_project() -> None:
    shown = CliRunner().invoke(main, ["--version"])

    assert (shown.exit_code, shown.stdout) == (0, f"calotype {calotype.__version__}\n")
    assert re.fullmatch(r"\d+\.\d+\.\d+", calotype.__version__)


@pytest.mark.parametrize(
    "path", [("generate",), ("jobs", "list"), ("dead", "list"), ("providers", "list"), ("webhooks", "list")]
)
def test_variables_that_a_command_reads_are_in_its_help(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*path, "--help"]).stdout

    assert "CALOTYPE_URL" in shown
    assert "CALOTYPE_API_KEY" in shown
