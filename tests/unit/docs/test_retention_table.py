"""The table of docs/state-machine.md says how long things are kept, as the code keeps them."""

import re
from datetime import timedelta
from pathlib import Path

from calotype import streams

from services.job.loops import parked_facts
from services.job.settings import Settings
from services.job.store import spending
from services.notifier.store import fan_out, retention

PAGE = (Path(__file__).parents[3] / "docs" / "state-machine.md").read_text(encoding="utf-8")


def days(row: str) -> int:
    """Days of the row that begins so."""
    [found] = re.findall(rf"^\| {row}[^|]* \| .*?(\d+) days?\)? \|", PAGE, re.MULTILINE)
    return int(found)


def of_stream(stream: streams.Stream) -> int:
    assert stream["max_age_seconds"] is not None
    return timedelta(seconds=stream["max_age_seconds"]).days


def test_each_row_is_what_the_code_does() -> None:
    defaults = {field.name: field.default for field in Settings.__dataclass_fields__.values()}

    assert days("final jobs") == defaults["retention_days"]
    assert days("tombstones") == defaults["idempotency_retention_days"]
    assert days("sums of") == spending.KEPT_DAYS
    assert days("ended and held") == retention.RETENTION_DAYS
    assert days("deliveries to a callback") == fan_out.CALLBACK_DAYS
    assert days("events on NATS") == of_stream(streams.EVENTS)
    assert days("dead letters") == of_stream(streams.DEAD_LETTERS)
    assert timedelta(days=days("parked facts")) == parked_facts.PATIENCE
