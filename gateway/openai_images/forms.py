"""Parses multipart forms from a body in memory, with limits; writes nothing to disk."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from calotype.size_limits import MAX_PROMPT_CHARACTERS
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.problems.problem import Violation, invalid, malformed

PART_LIMIT = 64
HEADER_LIMIT = 8
MAX_HEADER_BYTES = 2_048
#: The longest prompt in UTF-8. Files have limits of their own, by their use.
MAX_TEXT_BYTES = 4 * MAX_PROMPT_CHARACTERS


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a form."""

    content_type: str
    """As the client states it, in lower case without parameters; empty if it does not."""
    data: bytes
    """The content."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """The fields of a form."""

    texts: dict[str, str] = field(default_factory=dict)
    """Text fields by name; each name occurs once."""
    files: dict[str, list[File]] = field(default_factory=dict)
    """Files by the name of their field, in the order of the form."""


def parse(raw: bytes, content_type: str) -> Form:
    """Returns the form in a body. Raises `Problem` MALFORMED or INVALID_INPUT."""
    reader = _Reader(Form())
    try:
        boundary = _boundary(content_type)
        if raw.count(b"--" + boundary) > PART_LIMIT + 1:
            raise malformed(f"The form has more than {PART_LIMIT} parts.")
        # The parser reads these byte by byte: megabytes of them would block it for half a minute.
        if re.search(re.escape(boundary) + rb"[ \t]{32}", raw):
            raise malformed("A boundary of the form is followed by too many spaces.")
        parser = MultipartParser(
            boundary, reader.callbacks(), max_header_count=HEADER_LIMIT, max_header_size=MAX_HEADER_BYTES
        )
        parser.write(raw)
        parser.finalize()
    except FormParserError:
        raise malformed("The body is not a multipart form with the boundary of its Content-Type.") from None
    if not reader.ended:
        raise malformed("The form ends before its last boundary.")
    return reader.form


def _boundary(content_type: str) -> bytes:
    stated = Message()
    stated["content-type"] = content_type
    boundary = stated.get_param("boundary")
    if not isinstance(boundary, str) or not boundary or not boundary.isascii():
        raise malformed("The Content-Type of the form has no boundary parameter.")
    return boundary.encode("ascii")


class _Reader:
    """Builds the form from the parser's callbacks."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.ended = False
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[str, bytes] = {}
        self._data: list[bytes] = []

    def callbacks(self) -> Any:
        """Returns the callbacks by the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": _append_to(lambda: self._name),
            "on_header_value": _append_to(lambda: self._value),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers, self._data = {}, []

    def _end_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end_part(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "backslashreplace")
        if kind != b"form-data" or not name:
            raise malformed("A part of the form has no name.")
        data = b"".join(self._data)
        self._data = []
        if options.get(b"filename") == b"" and not data:
            # Browsers send this for a file input in which no file was chosen.
            return
        if b"filename" in options:
            stated = self._headers.get("content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
            self.form.files.setdefault(name, []).append(File(content_type=stated, data=data))
        else:
            self._add_text(name, data)

    def _add_text(self, name: str, data: bytes) -> None:
        if name in self.form.texts:
            raise invalid([Violation(field=name[:100], message="This field occurs more than once in the form.")])
        if len(data) > MAX_TEXT_BYTES:
            raise invalid([Violation(field=name[:100], message=f"Must have at most {MAX_TEXT_BYTES:,} bytes.")])
        try:
            self.form.texts[name] = data.decode("utf-8")
        except UnicodeDecodeError:
            raise invalid([Violation(field=name[:100], message="Must be valid UTF-8.")]) from None

    def _end(self) -> None:
        self.ended = True


def _append_to(buffer: Callable[[], bytearray]) -> Callable[[bytes, int, int], None]:
    def append(data: bytes, start: int, end: int) -> None:
        buffer().extend(data[start:end])

    return append
