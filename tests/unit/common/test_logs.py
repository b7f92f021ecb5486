"""Logs: one line per event, which a machine can read and nobody can forge."""

import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

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


def configure(*, form: logs.Form = "json", level: str = "info") -> None:
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

    assert first.endswith(" info    http.opened              host=127.0.0.1 port=8080")
    assert second.endswith(" warning calotype.test: alone")


def test_people_get_a_traceback_as_they_know_it(written: Written) -> None:
    configure(form="text")
    try:
        raise ValueError("why")
    except ValueError:
        LOG.exception("it.failed")

    first, second, *_, last = written.lines()

    assert first.endswith(" error   it.failed")
    assert (second, last) == ("    Traceback (most recent call last):", "    ValueError: why")


HOSTILE = "a\n12:00:00.000 error   job.deleted\r\x1b[2J\x00\x9b31m\u2028\u202etxt level=error"


def test_no_character_from_outside_ends_a_line_or_reaches_the_terminal(written: Written) -> None:
    for form in ("json", "text"):
        configure(form=cast("logs.Form", form))
        logs.event(LOG, logging.INFO, "job.named", end_user=HOSTILE, keys={HOSTILE: 1}, half="\udc80")
        LOG.warning(HOSTILE)
        lines = written.lines()

        assert len(lines) == 2
        assert not any(re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e\udc80]", line) for line in lines)


def test_an_exception_of_outside_forges_no_line(written: Written) -> None:
    configure(form="text")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        LOG.exception("it.failed")
    first, *below = written.lines()

    assert first.endswith("it.failed")
    assert all(line.startswith("    ") for line in below)
    assert not any(re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e]", line) for line in below)


def test_text_in_a_field_does_not_look_like_another_field(written: Written) -> None:
    configure(form="text")
    logs.event(LOG, logging.INFO, "job.named", end_user="a level=error", empty="", quoted='"', none=None)

    [line] = written.lines()

    assert line.endswith("""end_user="a level=error" empty="" quoted="\\"" none=null""")


class Silent:
    """Fails to describe itself."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Silent(), "<Silent>"),
        ([Silent(), 1], ["<Silent>", 1]),
        ("x" * 5_000, "x" * 4_000 + "... [1000 more]"),
        (b"\x89PNG", "<4 bytes>"),
        (10**100, "<large integer>"),
        (float("nan"), "nan"),
        ([0] * 60, [0] * 50 + ["... 10 more"]),
        ([[[[[1]]]]], [[[["<1 items>"]]]]),
        ({1: 2}, {"1": 2}),
    ],
)
def test_a_value_that_cannot_be_written_is_named_and_a_huge_one_is_cut(
    written: Written, value: object, shown: object
) -> None:
    configure()
    logs.event(LOG, logging.INFO, "x", value=value)

    assert written.only()["value"] == shown


def test_a_line_is_bounded_and_its_first_fields_stay(written: Written) -> None:
    for form in ("json", "text"):
        configure(form=cast("logs.Form", form))
        logs.event(LOG, logging.INFO, "x", job_id="job_1", many={str(i): "\x00" * 4_000 for i in range(50)})
        [line] = written.lines()
        assert len(line) < 34_000
        assert "job_1" in line
    configure()
    logs.event(LOG, logging.INFO, "x", job_id="job_1", many={str(i): "y" * 4_000 for i in range(50)})
    line_of = written.only()
    assert (line_of["job_id"], line_of["line_cut"], line_of["many"]["0"]) == (
        "job_1",
        True,
        "y" * 200 + "... [3800 more]",
    )


def test_arguments_that_do_not_fit_their_message_do_not_hide_it(written: Written) -> None:
    configure()
    LOG.warning("%d of %d", "one")

    assert written.only()["message"] == "%d of %d"


def test_a_field_cannot_replace_what_the_line_says_itself(written: Written) -> None:
    configure()
    LOG.info("x", extra={"time": "never", "service": "other", "level": "none"})
    line = written.only()

    assert (line["service"], line["level"]) == ("job", "info")


def test_a_line_about_a_job_names_the_trace_of_the_job(written: Written) -> None:
    configure()
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("work"):
        logs.event(LOG, logging.INFO, "x", trace_id="1" * 32)
    line = written.only()

    assert (line["trace_id"], "span_id" in line) == ("1" * 32, False)


def test_a_library_is_as_quiet_as_the_process(written: Written) -> None:
    configure()
    logs.set_level("error")
    logging.getLogger("urllib3.connectionpool").warning("slow")

    assert written.lines() == []


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_without_a_choice_a_terminal_gets_coloured_text(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for no_color in ("", "1"):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("NO_COLOR", no_color)
        monkeypatch.setenv("TERM", "xterm")
        configure(form="auto")
        logs.event(LOG, logging.WARNING, "job.named", reason="x")
        shown[no_color] = terminal.getvalue()

    assert "\x1b[33mwarning\x1b[0m" in shown[""]
    assert "\x1b" not in shown["1"]
    assert shown["1"].endswith(" warning job.named                reason=x\n")


def test_without_a_choice_anything_else_gets_json(written: Written) -> None:
    configure(form="auto")
    LOG.info("x")

    assert written.only()["message"] == "x"
