"""What `calotype` says of itself."""

import re
from collections.abc import Iterator

import calotype
import click
import pytest
from click.testing import CliRunner

from cli.__main__ import main
from cli.completion import SHELLS


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


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (("job",), "'jobs'"),
        (("jobs", "lst"), "'list'"),
        (("providers", "chek"), "'check'"),
        (("jobs", "list", "--jsn"), "'--json'"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_right_one(
    arguments: tuple[str, ...], suggested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])

    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert "Did you mean" in error
    assert suggested in error


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_complete_commands(shell: str) -> None:
    shown = CliRunner().invoke(main, ["completion", shell])

    assert (shown.exit_code, "_CALOTYPE_COMPLETE" in shown.stdout) == (0, True)


def test_completion_knows_commands_options_and_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, completed in {
        "calotype jo": "jobs",
        "calotype generate --qua": "--quality",
        "calotype jobs list --status fa": "failed",
    }.items():
        monkeypatch.setenv("_CALOTYPE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        with pytest.raises(SystemExit):
            main(prog_name="calotype")
        assert capsys.readouterr().out == f"plain,{completed}\n"


#: Commands that print no result: they run something, report its steps, or print what a shell reads.
WITHOUT_RESULT = {("up",), ("down",), ("demo",), ("migrate",), ("log-level",), ("drain",), ("completion",)}


def test_every_result_can_be_printed_as_json() -> None:
    assert {path for path, command in commands(main) if not _has(command, "--json")} == WITHOUT_RESULT


def _has(command: click.Command, option: str) -> bool:
    return any(option in parameter.opts for parameter in command.params)


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands that are no groups, with their paths."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from commands(below, *path, name)
