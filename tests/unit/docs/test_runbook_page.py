"""The runbook has its ten cases as steps, and what it and the operators' pages name is there."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest
import yaml
from calotype.error_reasons import Reason

from cli.__main__ import main
from tests.support.checks.log_events import ROOT, logged_events

DOCS = ROOT / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")
CASES = (
    "A stuck job",
    "A provider is down",
    "A wrong bill",
    "A poison fact",
    "A full disk",
    "A slow database",
    "The broker is gone",
    "The storage refuses",
    "The queue grows",
    "A leaked key",
)
#: Pages that operators read while something is wrong.
PAGES = (
    *("runbook.md", "operations.md", "telemetry.md", "logs.md", "security.md"),
    *("backups.md", "capacity.md", "rotation.md", "upgrades.md"),
)
#: What ends a name of a log event; other dotted names in the pages are types of job events, metrics or attributes.
PARTICIPLE = (
    r"(?:failed|lost|restored|ended|refused|postponed|published|attempted|denied|paused|changed|lettered|held_up)"
)


def commands(text: str) -> Iterator[list[str]]:
    """Commands of `calotype` in blocks and in running text, as words."""
    for line in re.findall(r"^ *calotype [^\n|#]+", text, re.MULTILINE) + re.findall(r"`(calotype [^`]+)`", text):
        yield shlex.split(line.replace("\n", " "))[1:]


def check(words: list[str]) -> None:
    """Asserts that a command and its options exist."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}, words


def test_each_case_says_what_one_sees_how_to_decide_what_to_do_and_when_it_is_over() -> None:
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))

    assert tuple(name for name in sections if name != "Before you begin") == CASES
    for name in CASES:
        for part in ("**You see:**", "**Decide:**", "**Over when**"):
            assert part in sections[name], (name, part)
        assert re.search(r"^1\. ", sections[name], re.MULTILINE), name


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist_with_their_options(page: str) -> None:
    for words in commands((DOCS / page).read_text(encoding="utf-8")):
        check(words)


@pytest.mark.parametrize("page", PAGES)
def test_the_log_events_of_a_page_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    named = {*re.findall(rf"`([a-z_]+\.[a-z_]*{PARTICIPLE})`", text)}
    known = {event.name for event in logged_events()} | {"audit.access.refused", "log.lines_lost"}
    loops = {name.partition(".")[2] for name in known if name.startswith("*")}

    assert {
        name for name in named - known if name.partition(".")[2] not in loops and not name.startswith("job.")
    } == set()


def test_the_alerts_of_the_runbook_exist() -> None:
    rules = yaml.safe_load((ROOT / "deploy/dashboards/rules/calotype.yaml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}

    assert {*re.findall(r"\bCalotype[A-Z]\w+", RUNBOOK)} <= alerts


def test_the_reasons_of_the_runbook_exist() -> None:
    of_code = {"TEMPORARY", "AUTH_ERROR"}
    named = {name for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", RUNBOOK) if not name.startswith("CALOTYPE")}

    assert named - of_code <= {reason.value for reason in Reason}
