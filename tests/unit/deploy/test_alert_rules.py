"""Alert rules: valid, on metrics that exist, each with a severity, a runbook and unit tests by promtool."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.telemetry import metrics
from tests.support.monitoring import boards
from tests.support.monitoring.alert_rules import FILES, ROOT, AlertRule, rules
from tests.support.monitoring.prometheus_server import INSTALL
from tests.support.monitoring.query_checks import KnownSeries
from tests.support.required_tools import need
from tests.unit.docs.test_links import headings

KNOWN = KnownSeries.of(metrics.DECLARED.values(), others=boards.OF_PROCESSES)
RULES = rules()
UNIT_TESTS = sorted((Path(__file__).parent / "alert_rules").glob("*.yaml"))
#: Steps of a runbook: what to look at, what to run, what it prints, what then.
STEP = re.compile(r"^\d+\. ", re.MULTILINE)


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        [need("promtool", install=INSTALL), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_are_valid() -> None:
    promtool("check", "rules", *FILES)


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_the_rules_fire_when_they_should_and_only_then(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_asks_for_what_exists(rule: AlertRule) -> None:
    assert KNOWN.problems(rule.expression) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_has_severity_summary_and_description(rule: AlertRule) -> None:
    assert rule.severity in ("page", "ticket")
    assert rule.summary
    assert rule.description.endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_a_runbook_of_steps(rule: AlertRule) -> None:
    page, anchor = rule.runbook.split("#")
    text = (ROOT / page).read_text(encoding="utf-8")
    section = re.split(rf"^#+ {rule.name}$", text, flags=re.MULTILINE)[1].partition("\n### ")[0].partition("\n## ")[0]

    assert anchor in headings(ROOT / page)
    assert anchor == rule.name.lower()
    assert len(STEP.findall(section)) >= 2
    assert "`" in section


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_has_a_unit_test_of_firing_and_of_silence(rule: AlertRule) -> None:
    cases: list[dict[str, Any]] = [
        case
        for path in UNIT_TESTS
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in group.get("alert_rule_test", [])
        if case["alertname"] == rule.name
    ]

    assert {bool(case.get("exp_alerts")) for case in cases} == {True, False}


def test_every_unit_test_is_of_a_rule() -> None:
    named = {
        case["alertname"]
        for path in UNIT_TESTS
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in group.get("alert_rule_test", [])
    }

    assert named <= {rule.name for rule in RULES}


def test_the_page_lists_every_alert_with_its_severity() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(Calotype\w+)\]\(#(\w+)\) \| (\w+) \| .+ \|$", page, re.MULTILINE)

    assert listed == [(rule.name, rule.name.lower(), rule.severity) for rule in RULES]
