"""docs/logs.md lists every event that the code logs, and each has a name of the same form."""

import re

import pytest

from common import audit
from tests.support.checks.log_events import ROOT, LoggedEvent, logged_events

PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
#: Names that the code fills in: those of the audit log are listed in docs/security.md.
NAMED_ELSEWHERE = {"common/audit.py", "common/http_server.py"}
#: Past participles that do not end in -ed.
IRREGULAR = {
    "kept",
    "cut",
    "lost",
    "sent",
    "made",
    "begun",
    "read",
    "left",
    "held",
    "ran",
    "rebuilt",
    "understood",
    "found",
}
IRREGULAR |= {"taken"}
EVENTS = [event for event in logged_events() if event.place.split(":")[0] not in NAMED_ELSEWHERE]


def listed() -> set[tuple[str, str]]:
    """Pairs of event and service in the table."""
    table = PAGE.partition("| event | service |")[2]
    rows = [line.split("|") for line in table.splitlines()[2:] if line.startswith("|")]
    return {(name, row[2].strip()) for row in rows for name in re.findall(r"`([\w.*]+)`", row[1])}


def test_the_table_has_every_event_and_no_other() -> None:
    found = {(event.name, event.service) for event in EVENTS}
    # Logged by the writer itself, by the two servers, and by shared code under another name in one place.
    found |= {("log.lines_lost", "every"), ("http.opened", "gateway"), ("admin.opened", "every")}
    found -= {("*.failed", "gateway"), ("wakeup.not_acknowledged", "notifier")}

    assert listed() == found


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_a_name_is_a_noun_and_what_happened_to_it(event: LoggedEvent) -> None:
    noun, _, happened = event.name.rpartition(".")
    words = happened.split("_")

    assert re.fullmatch(r"[a-z_]+|\*", noun), event.place
    assert any(word.endswith("ed") or word in IRREGULAR or word == "died" for word in words), event.place


def test_the_audit_log_has_names_of_this_form() -> None:
    assert all(name.endswith(("taken", "refused", "read")) for name in audit.EVENTS)
