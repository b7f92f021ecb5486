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


#: Levels that a variable has, and those of the log's own writer and of the two servers.
LEVELS = {
    ("broker.failed", "every"): {"debug", "error"},
    ("log.lines_lost", "every"): {"error"},
    ("http.opened", "gateway"): {"info"},
    ("admin.opened", "every"): {"info"},
}


def levels_of(name: str, service: str) -> set[str]:
    """Levels at which the code logs an event, of the service or, for shared code, of every one."""
    levels = LEVELS.get((name, service), set())
    return {
        level for event in EVENTS if (event.name, event.service) == (name, service) for level in event.levels
    } | levels


def fields_of(name: str) -> set[str]:
    """Fields that the call of an event names."""
    return {field for event in EVENTS if event.name == name for field in event.fields} - {"**"}


def described(name: str) -> set[str]:
    """Fields that the page lists behind the name of an event, up to the end of the sentence."""
    sentence = PAGE.partition(f"`{name}`")[2].partition(". ")[0].partition(".\n")[0]
    return {*re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", sentence))}


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


def test_the_table_has_the_levels_of_the_code() -> None:
    table = PAGE.partition("| event | service |")[2]
    for line in [line for line in table.splitlines()[2:] if line.startswith("|")]:
        names, service, levels = (cell.strip() for cell in line.split("|")[1:4])
        expected = {level for name in re.findall(r"`([\w.*]+)`", names) for level in levels_of(name, service)}
        assert {*levels.split(", ")} == expected, line


def test_the_ends_of_uploads_and_deliveries_have_the_fields_that_are_listed() -> None:
    of_every_line = {"job_id", "tenant"}
    # The ids come from `ids_of`.
    ids = {"delivery_id", "webhook_id"}

    assert described("delivery.attempted") == fields_of("delivery.attempted") | ids
    assert described("upload.ended") == fields_of("upload.ended") - of_every_line


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_a_name_is_a_noun_and_what_happened_to_it(event: LoggedEvent) -> None:
    noun, _, happened = event.name.rpartition(".")
    words = happened.split("_")

    assert re.fullmatch(r"[a-z_]+|\*", noun), event.place
    assert any(word.endswith("ed") or word in IRREGULAR or word == "died" for word in words), event.place


def test_the_audit_log_has_names_of_this_form() -> None:
    assert all(name.endswith(("taken", "refused", "read")) for name in audit.EVENTS)
