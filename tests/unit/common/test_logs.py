"""Logs: one line per event, which a machine can read and nobody can forge."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from opentelemetry.sdk.trace import TracerProvider

from common import logs

LOG = logging.getLogger("calotype.test")


@pytest.fixture(autouse=True)
def _the_logging_of_this_process() -> Iterator[None]:
    """Logging is put back as it was."""
    named = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    before = [(one, one.level) for one in named]
    handlers = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = handlers
    for one in map(logging.getLogger, logging.root.manager.loggerDict):
        one.setLevel(logging.NOTSET)
    for one, level in before:
        one.setLevel(level)


class Written:
    """What the process wrote to standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def lines(self) -> list[str]:
        """The lines since it was last asked."""
        return self._capsys.readouterr().err.split("\n")[:-1]

    def only(self) -> dict[str, Any]:
        """The only line, as JSON."""
        [line] = self.lines()
        told: dict[str, Any] = json.loads(line)
        return told


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    """What is written during the test."""
    return Written(capsys)


def configure(*, form: Literal["text", "json"] = "json", level: str = "info") -> None:
    """As a process does at its start."""
    logs.configure(service="job", level=level, form=form)


def test_a_line_says_when_how_bad_who_and_what(written: Written) -> None:
    configure()
    logs.event(LOG, logging.WARNING, "job.rescued", job_id="job_1", count=2)
    told = written.only()

    assert datetime.fromisoformat(told.pop("time")).utcoffset() is not None
    assert told == {
        "level": "warning",
        "service": "job",
        "logger": "calotype.test",
        "message": "job.rescued",
        "job_id": "job_1",
        "count": 2,
    }


def test_fields_that_json_does_not_know_are_written_as_text(written: Written) -> None:
    configure()
    logs.event(LOG, logging.INFO, "x", path=Path("/a"), ids={"b": Path("/c")})

    told = written.only()

    assert (told["path"], told["ids"]) == ("/a", {"b": "/c"})


def test_an_exception_stays_within_its_line(written: Written) -> None:
    configure()
    try:
        raise ValueError("two\nlines")
    except ValueError:
        LOG.exception("it.failed")
    told = written.only()

    assert told["message"] == "it.failed"
    assert told["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert told["exception"].endswith("ValueError: two\nlines")


def test_nobody_forges_a_line_by_what_he_calls_himself(written: Written) -> None:
    configure()
    logs.event(LOG, logging.INFO, "x", end_user='a\n{"level": "error"}\r\n', words="\u2028ü🏞")

    [line] = written.lines()

    assert json.loads(line)["end_user"] == 'a\n{"level": "error"}\r\n'
    assert "ü🏞" in line


def test_a_line_within_a_span_can_be_found_by_its_trace(written: Written) -> None:
    configure()
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("work") as span:
        LOG.info("inside")
    context, told = span.get_span_context(), written.only()

    assert (int(told["trace_id"], 16), int(told["span_id"], 16)) == (context.trace_id, context.span_id)
    assert (len(told["trace_id"]), len(told["span_id"])) == (32, 16)


def test_a_line_outside_of_any_span_names_none(written: Written) -> None:
    configure()
    LOG.info("outside")

    assert not {"trace_id", "span_id"} & set(written.only())


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_what_is_below_the_level_is_not_written(written: Written, level: str, seen: list[str]) -> None:
    configure(level=level)
    for name in logs.LEVELS:
        LOG.log(getattr(logging, name.upper()), name)

    assert [json.loads(line)["message"] for line in written.lines()] == seen


def test_the_level_can_be_changed_while_it_runs(written: Written) -> None:
    configure()
    LOG.debug("before")
    assert logs.set_level("debug") == "info"
    LOG.debug("after")

    assert written.only()["message"] == "after"
    assert logs.set_level("error") == "debug"


@pytest.mark.parametrize("library", ["httpx", "httpcore.http11", "urllib3.connectionpool", "nats.aio.client"])
def test_a_library_does_not_tell_of_every_request_with_its_address_and_what_is_secret_in_it(
    written: Written, library: str
) -> None:
    configure(level="debug")
    logging.getLogger(library).info("GET https://vendor.example/?key=hidden")
    logging.getLogger(library).debug("Authorization: Bearer hidden")
    logging.getLogger(library).warning("slow")

    assert written.only()["message"] == "slow"


def test_a_second_configuration_takes_the_place_of_the_first(written: Written) -> None:
    configure(form="text")
    configure()
    LOG.info("once")

    assert written.only()["message"] == "once"


def test_people_get_the_same_in_one_line_of_text(written: Written) -> None:
    configure(form="text")
    logs.event(LOG, logging.INFO, "http.opened", host="127.0.0.1", port=8080)
    LOG.warning("alone")
    first, second = written.lines()

    assert first.endswith("info    calotype.test: http.opened host=127.0.0.1 port=8080")
    assert second.endswith("warning calotype.test: alone")


def test_people_get_a_traceback_as_they_know_it(written: Written) -> None:
    configure(form="text")
    try:
        raise ValueError("why")
    except ValueError:
        LOG.exception("it.failed")

    first, second, *_, last = written.lines()

    assert first.endswith("calotype.test: it.failed")
    assert (second, last) == ("Traceback (most recent call last):", "ValueError: why")
