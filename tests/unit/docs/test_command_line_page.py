"""The page of the command line names commands, options and exit codes that exist."""

import re

from cli.errors import ExitCode
from tests.support.checks.log_events import ROOT
from tests.unit.docs.test_runbook_page import check, commands

PAGE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_exist_with_their_options() -> None:
    named = list(commands(PAGE))

    assert len(named) > 10
    for words in named:
        check(words)


def test_the_options_of_generate_exist() -> None:
    rows = PAGE.partition("## Make images")[2].partition("\n\n- ")[0]

    check(["generate", *re.findall(r"`(--[a-z-]+)", rows.partition("| --- |")[2])])


def test_every_exit_code_is_explained() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)] == sorted(ExitCode)
