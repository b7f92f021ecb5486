"""The timeline of a job in a terminal."""

from datetime import UTC, datetime
from typing import Any

from cli.api.job_report import BAR_CELLS, summary_lines, timeline, timeline_lines
from gateway.api_docs.examples import RESPONSES

NOW = datetime(2026, 1, 31, 12, 0, 10, tzinfo=UTC)


def view(**changes: Any) -> dict[str, Any]:
    """The example of a job, whose changes are those of a whole way."""
    types = {"job.submitted": "queued", "job.claimed": "processing", "job.completed": "completed"}
    events = [
        {"sequence": number, "type": type_, "status": status, "occurred_at": f"2026-01-31T12:00:0{number}.000000Z"}
        for number, (type_, status) in enumerate(types.items(), 1)
    ]
    return RESPONSES["getAnyJob", "200"] | {"events": events[::-1]} | changes


def test_a_timeline_has_waits_attempts_calls_and_changes_in_their_order() -> None:
    entries = timeline(view())

    assert sorted({entry.kind for entry in entries}) == ["attempt", "call", "event", "wait"]
    assert [entry.starts_at for entry in entries] == sorted(entry.starts_at for entry in entries)
    [wait] = [entry for entry in entries if entry.kind == "wait"]
    assert wait.ends_at is not None
    assert (wait.ends_at - wait.starts_at).total_seconds() == 1


def test_ids_are_whole_and_every_line_has_a_bar_of_the_same_width() -> None:
    shown = view()
    call = shown["attempts"][0]["provider_calls"][0]
    lines = list(timeline_lines(timeline(shown), now=NOW))

    assert any(f"call {call['id']}  " in line for line in lines)
    assert {line.index("]") - line.index("[") for line in lines} == {BAR_CELLS + 1}


def test_what_goes_on_is_marked() -> None:
    attempt = view()["attempts"][0] | {"ended_at": None, "outcome": None}
    [line] = [line for line in timeline_lines(timeline(view(attempts=[attempt])), now=NOW) if "attempt 1" in line]

    assert ">]" in line
    assert "s+  " in line


def test_a_provider_cannot_write_to_the_terminal() -> None:
    shown = view()
    error = {"http_status": 500, "code": None, "message": "a\x1b[2J\nb", "request_id": None}
    call = shown["attempts"][0]["provider_calls"][0] | {"provider_error": error}
    attempt = shown["attempts"][0] | {"provider_calls": [call]}
    changed = view(attempts=[attempt], summary=shown["summary"] | {"provider_call": call})
    printed = [*summary_lines(changed), *timeline_lines(timeline(changed), now=NOW)]

    assert sum("a [2J b" in line for line in printed) == 2
    assert all(line.isprintable() for line in printed)


def test_an_empty_timeline_has_no_lines() -> None:
    assert list(timeline_lines([], now=NOW)) == []
