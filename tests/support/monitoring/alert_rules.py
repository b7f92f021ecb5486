"""The alert rules of `deploy/dashboards/rules`, and a copy of them that fires at once."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "deploy" / "dashboards" / "rules").glob("*.yaml"))
#: How far the immediate copies look back: several scrapes, one a second.
WINDOW = "15s"
_RANGE = re.compile(r"\[\d+[smhd]\]")


@dataclass(frozen=True, kw_only=True)
class AlertRule:
    """One alert rule."""

    #: Name of the alert.
    name: str
    #: PromQL; the alert is on for each series that it returns.
    expression: str
    #: `page` wakes somebody, `ticket` waits for office hours.
    severity: str
    #: One line, with values.
    summary: str
    #: What it means for users.
    description: str
    #: Page and anchor of its runbook, from the root of the repository.
    runbook: str


def rules() -> list[AlertRule]:
    """Returns all alert rules, of all files."""
    return [
        AlertRule(
            name=rule["alert"],
            expression=rule["expr"],
            severity=rule["labels"]["severity"],
            summary=rule["annotations"]["summary"],
            description=rule["annotations"]["description"].strip(),
            runbook=rule["annotations"]["runbook_url"],
        )
        for path in FILES
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def write_immediate(folder: Path) -> list[Path]:
    """Writes copies of the rules into a folder; returns the files.

    They fire as soon as their expression holds, and look back only `WINDOW`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in FILES:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in content["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                rule.pop("for", None)
                rule["expr"] = _RANGE.sub(f"[{WINDOW}]", rule["expr"])
        copy = folder / path.name
        copy.write_text(yaml.safe_dump(content), encoding="utf-8")
        written.append(copy)
    return written
