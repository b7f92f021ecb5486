"""Multipart forms, read from a body that lies in memory: bounded, and nothing is written to a disk."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.problems.problem import Violation, invalid, malformed

MOST_PARTS = 64
MOST_HEADERS = 8
LONGEST_HEADER = 2_048
#: A prompt of the longest kind, in UTF-8; files are bounded by what they are for.
LONGEST_TEXT = 128_000


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a form."""

    content_type: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Form:
    """Texts by name, each once; files by name, in their order."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[File]] = field(default_factory=dict)


def parse(raw: bytes, content_type: str) -> Form:
    """The form that a body holds. Raises `Problem`."""
    reader = _Reader(Form())
    try:
        boundary = _boundary(content_type)
        if raw.count(b"--" + boundary) > MOST_PARTS + 1:
            raise malformed(f"The form holds more than {MOST_PARTS} parts.")
        # The parser goes over these byte by byte: megabytes of them would keep it busy for half a minute.
        if re.search(re.escape(boundary) + rb"[ \t]{32}", raw):
            raise malformed("A boundary of the form is followed by too many spaces.")
        parser = MultipartParser(
            boundary, reader.callbacks(), max_header_count=MOST_HEADERS, max_header_size=LONGEST_HEADER
        )
        parser.write(raw)
        parser.finalize()
    except FormParserError:
        raise malformed("The body is not the multipart form that its Content-Type says.") from None
    if not reader.ended:
        raise malformed("The form ends before its last boundary.")
    return reader.form


def _boundary(content_type: str) -> bytes:
    stated = Message()
    stated["content-type"] = content_type
    boundary = stated.get_param("boundary")
    if not isinstance(boundary, str) or not boundary or not boundary.isascii():
        raise malformed("The Content-Type of the form names no boundary.")
    return boundary.encode("ascii")


class _Reader:
    """Takes the parser's callbacks, part after part."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.ended = False
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[str, bytes] = {}
        self._data: list[bytes] = []

    def callbacks(self) -> Any:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": _into(lambda: self._name),
            "on_header_value": _into(lambda: self._value),
            "on_header_end": self._keep_header,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._keep_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers, self._data = {}, []

    def _keep_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _keep_part(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "backslashreplace")
        if kind != b"form-data" or not name:
            raise malformed("A part of the form has no name.")
        data = b"".join(self._data)
        self._data = []
        if options.get(b"filename") == b"" and not data:
            # What a form of a page sends for a file that nobody chose.
            return
        if b"filename" in options:
            stated = self._headers.get("content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
            self.form.files.setdefault(name, []).append(File(content_type=stated, data=data))
        else:
            self._keep_text(name, data)

    def _keep_text(self, name: str, data: bytes) -> None:
        if name in self.form.texts:
            raise invalid([Violation(field=name[:100], message="Stands twice in the form.")])
        if len(data) > LONGEST_TEXT:
            raise invalid([Violation(field=name[:100], message=f"At most {LONGEST_TEXT:,} bytes.")])
        try:
            self.form.texts[name] = data.decode("utf-8")
        except UnicodeDecodeError:
            raise invalid([Violation(field=name[:100], message="Is not UTF-8.")]) from None

    def _end(self) -> None:
        self.ended = True


def _into(kept: Callable[[], bytearray]) -> Callable[[bytes, int, int], None]:
    def keep(data: bytes, start: int, end: int) -> None:
        kept().extend(data[start:end])

    return keep
