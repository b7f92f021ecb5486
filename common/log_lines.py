"""Form of log lines: JSON or text, bounded, and without characters that could end a line or steer a terminal."""

import json
import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from opentelemetry import trace

#: Characters of one value, and of a traceback; longer ones are cut, and end in the number of characters left out.
MAX_VALUE_LENGTH, MAX_TRACEBACK_LENGTH = 4_000, 16_000
#: Items of a value that is a list or mapping, and how deep they may be nested.
MAX_ITEMS, MAX_DEPTH = 50, 4
#: Characters of a line. A longer one keeps its first values, each cut to `SHORT_LENGTH`, and is marked `line_cut`.
MAX_LINE_LENGTH, SHORT_LENGTH = 32_000, 200
#: Integers beyond this are named instead: Python refuses to write very long ones.
_LARGEST_INTEGER = 2**63
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
#: Fields that the formatter sets itself; an event's own field of this name is not shown.
RESERVED = ("time", "level", "service", "logger", "message")
# Control characters, separators of lines, marks that reverse the direction of text, and halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_EVENT = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_BARE = re.compile(r'[^\s"=]+')
_RESET, _BOLD, _DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
_COLOURS = {"debug": _DIM, "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line; never raises, whatever the record holds."""
        return as_json(line_of(record, self._service))


class TextFormatter(logging.Formatter):
    """Formats a record as a line for people, its traceback indented below."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Returns the lines; never raises, whatever the record holds."""
        return as_text(line_of(record, ""), colour=self._colour)


def line_of(record: logging.LogRecord, service: str) -> dict[str, Any]:
    """Returns a record as the fields of a line: plain values, each bounded."""
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "service": service,
        "logger": record.name,
        "message": _cut(_message(record)),
    }
    for key, value in vars(record).items():
        if key not in _STANDARD and key not in RESERVED:
            line[key] = plain(value)
    context = trace.get_current_span().get_span_context()
    # A line may name the trace of its job instead of the one that its process is in.
    if context.is_valid and "trace_id" not in line:
        line["trace_id"] = trace.format_trace_id(context.trace_id)
        line["span_id"] = trace.format_span_id(context.span_id)
    if record.exc_info and record.exc_info[0] is not None:
        line["exception"] = _traceback(record)
    return line


def as_json(line: Mapping[str, Any]) -> str:
    """Returns the line as JSON of at most `MAX_LINE_LENGTH` characters."""
    written = _dumps(line)
    return written if len(written) <= MAX_LINE_LENGTH else _dumps(_shortened(line))


def as_text(line: Mapping[str, Any], *, colour: bool = False, service: str = "") -> str:
    """Returns the line for people: time of the day (UTC), level, event, fields; `service` names the process.

    A value that is not one plain word is written as JSON, so that no value can look like another field or line.
    """
    level, message = str(line.get("level", "")), str(line.get("message", ""))
    if not _EVENT.fullmatch(message):
        message = f"{line.get('logger', '')}: {message}"
    fields = {key: value for key, value in line.items() if key not in (*RESERVED, "trace_id", "span_id", "exception")}
    written = " ".join(
        _painted(f"{_escape(key)}=", _DIM if colour else "") + _word(value) for key, value in fields.items()
    )
    head = [
        _escape(str(line.get("time", ""))[11:23]),
        _painted(f"{_escape(level):<7}", _COLOURS.get(level, "") if colour else ""),
        *([f"{_escape(service):<11}"] if service else []),
        _painted(f"{_escape(message):<24}" if written else _escape(message), _BOLD if colour else ""),
    ]
    text = _bounded(" ".join([*head, written]).rstrip())
    traceback = line.get("exception")
    if not isinstance(traceback, str):
        return text
    return "\n".join([text, *(f"    {_escape(below)}" for below in traceback.split("\n"))])


def plain(value: Any, *, length: int = MAX_VALUE_LENGTH, items: int = MAX_ITEMS, depth: int = MAX_DEPTH) -> Any:
    """Returns a value as JSON has it, cut to the bounds; one that cannot be written is named by its type."""
    try:
        return _plain(value, length, items, depth)
    except Exception:  # noqa: BLE001 - a value that fails to describe itself must not hide the event
        return f"<{type(value).__name__}>"


def _plain(value: Any, length: int, items: int, depth: int) -> Any:
    # First, as nearly all values are text.
    if isinstance(value, str):
        return _cut(value, length)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _LARGEST_INTEGER else "<large integer>"
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth == 0:
            return f"<{len(value)} items>"
        return _items(value, length, items, depth)
    return _cut(str(value), length)


def _items(value: Any, length: int, items: int, depth: int) -> Any:
    more = len(value) - items
    if isinstance(value, Mapping):
        found = {
            str(_plain(key, length, items, 0)): plain(each, length=length, items=items, depth=depth - 1)
            for key, each in islice(value.items(), items)
        }
        return found | ({"...": f"{more} more"} if more > 0 else {})
    listed = [plain(each, length=length, items=items, depth=depth - 1) for each in islice(value, items)]
    return [*listed, f"... {more} more"] if more > 0 else listed


def _shortened(line: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        key: plain(value, length=SHORT_LENGTH, items=MAX_ITEMS // 10, depth=1)
        for key, value in islice(line.items(), MAX_ITEMS)
        if key != "exception"
    }
    exception = {"exception": line["exception"]} if "exception" in line else {}
    return kept | {"line_cut": True} | exception


def _dumps(line: Mapping[str, Any]) -> str:
    return _escape(_ENCODER.encode(line))


def _message(record: logging.LogRecord) -> str:
    try:
        return str(record.getMessage())
    except Exception:  # noqa: BLE001 - arguments that do not fit the message, or that fail to describe themselves
        return str(plain(record.msg))


def _traceback(record: logging.LogRecord) -> str:
    assert record.exc_info
    try:
        text = logging.Formatter().formatException(record.exc_info)
    except Exception:  # noqa: BLE001 - an exception that cannot be formatted
        text = f"{record.exc_info[0]}"
    # The end has the exception itself.
    left_out = len(text) - MAX_TRACEBACK_LENGTH
    return text if left_out <= 0 else f"[{left_out} more] ...{text[-MAX_TRACEBACK_LENGTH:]}"


def _cut(text: str, length: int = MAX_VALUE_LENGTH) -> str:
    left_out = len(text) - length
    # A slice of a subclass is a plain string.
    return text[:] if left_out <= 0 else f"{text[:length]}... [{left_out} more]"


def _bounded(text: str) -> str:
    return _cut(text, MAX_LINE_LENGTH)


def _escape(text: str) -> str:
    r"""Returns the text with unsafe characters as `\uXXXX`, as JSON writes them."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _word(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return _escape(value)
    return _dumps(value)


def _painted(text: str, colour: str) -> str:
    return f"{colour}{text}{_RESET}" if colour else text
