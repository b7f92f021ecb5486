"""Logs: one line per event, as JSON for machines or as text for people."""

import io
import logging
import os
import sys
from typing import Any, Literal, TextIO

from common.log_lines import JsonFormatter, TextFormatter
from common.log_writer import BackgroundHandler

#: Levels that an operator may set, from the most to the least lines.
LEVELS = ("debug", "info", "warning", "error")
#: Logger of the audit log: its lines are the last to be left out when nobody reads them.
AUDIT_LOGGER = "calotype.audit"
#: `auto` is text on a terminal, and otherwise JSON.
Form = Literal["auto", "text", "json"]
# These log every request and every retry; the code that uses them logs what matters.
_NOISY = ("httpx", "httpcore", "urllib3", "nats", "google.auth", "asyncio", "grpc", "PIL", "opentelemetry.exporter")


def configure(*, service: str, level: str, form: Form) -> None:
    """Sends all logs of the process to standard error."""
    stream = sys.stderr
    is_terminal = stream.isatty()
    is_text = form == "text" or (form == "auto" and is_terminal)
    handler = _handler(stream)
    handler.setFormatter(TextFormatter(colour=is_terminal and _may_colour()) if is_text else JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> str:
    """Sets the log level of the whole process; returns the previous level."""
    before = current_level()
    root = logging.getLogger()
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    return before


def current_level() -> str:
    """Returns the log level of the process, one of `LEVELS` once it is configured."""
    return logging.getLevelName(logging.getLogger().level).lower()


def event(logger: logging.Logger, level: int, name: str, **fields: Any) -> None:
    """Logs an event with a name `noun.verb_past` and its data as fields; a cause is the field `reason`."""
    logger.log(level, name, extra=fields)


def _handler(stream: TextIO) -> logging.Handler:
    try:
        return BackgroundHandler(stream.fileno(), reserved=(AUDIT_LOGGER,))
    except io.UnsupportedOperation:
        return logging.StreamHandler(stream)


def _may_colour() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
