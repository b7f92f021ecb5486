"""Alterations of a provider's responses: by name, and random ones by a seed."""

import base64
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.support.providers.faulty_provider import Alteration, Framing, RawResponse

_BASE64 = re.compile(rb'"([A-Za-z0-9+/]{100,}={0,2})"')
#: Texts that some store, encoder or parser does not take.
ODD_TEXTS = (
    "",
    "\x00",
    "caf\x00e9 at dawn",
    "a fox \ud83d",
    "\udc00 begins in the middle",
    "\x1b[31mred\x07",
    "\u202egnp.txt",
    "Łódź 🖼 " * 30,
    "x" * 5_000,
    "null",
    "NaN",
    "-1",
    "../../etc/passwd",
    "http://[::1",
    "http://127.0.0.1:1/",
    "data:image/png;base64,!!!!",
    "\r\nX-Injected: 1",
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**63,
    1e308,
    0.1,
    [],
    {},
    [None],
    [[]],
    {"": None},
    *ODD_TEXTS,
)
STATUSES = (
    200,
    201,
    202,
    204,
    206,
    302,
    400,
    401,
    402,
    403,
    404,
    408,
    409,
    410,
    418,
    422,
    429,
    451,
    500,
    502,
    503,
    504,
)
ODD_HEADERS = (
    ("x-routed-via", "маляр/кисть".encode()),
    ("x-request-id", b"\xff\xfe\x00"[:2]),
    ("x-request-id", b"r" * 4_000),
    ("Content-Type", b"text/event-stream"),
    ("Content-Type", b"application/octet-stream"),
    ("Content-Type", b"image/png"),
    ("Content-Type", "application/json; charset=юникод".encode()),
    ("Content-Encoding", b"gzip"),
    ("Content-Encoding", b"br, gzip"),
    ("Content-Encoding", b"identity"),
    ("Retry-After", b"Fri, 31 Dec 1999 23:59:59 GMT"),
    ("Retry-After", b"-5"),
    ("Retry-After", b"1e999"),
    ("Location", b"http://[::1"),
)


def _in_json(change: Callable[[Any], Any]) -> Alteration:
    def altered(response: RawResponse) -> RawResponse:
        return response.with_json(change(json.loads(response.body))) if response.is_json else response

    return altered


def _with_odd_fields(value: Any) -> Any:
    if isinstance(value, dict):
        added = {"x_note": "caf\x00e \ud83d", "x_null": None, "x_large": 2**80, "": "no name"}
        return {name: _with_odd_fields(inner) for name, inner in value.items()} | added
    return [_with_odd_fields(inner) for inner in value] if isinstance(value, list) else value


def _encoded(change: Callable[[bytes], bytes]) -> Alteration:
    return lambda response: replace(
        response, body=_BASE64.sub(lambda match: b'"' + change(match[1]) + b'"', response.body)
    )


def _in_lines(text: bytes) -> bytes:
    return json.dumps(base64.encodebytes(base64.b64decode(text)).decode())[1:-1].encode()


def _around_json(before: bytes, after: bytes = b"") -> Alteration:
    return lambda response: replace(response, body=before + response.body + after) if response.is_json else response


#: Alterations that a correct reader ignores: the job gets its image.
HARMLESS: Mapping[str, Alteration] = {
    "as it is": lambda response: response,
    "a header in another alphabet": lambda response: response.with_header("x-routed-via", "маляр/кисть v2".encode()),
    "a header of no alphabet": lambda response: response.with_header("x-served-by", b"\xff\xfe\x80"),
    "a label of gzip on what is none": lambda response: response.with_header("Content-Encoding", b"gzip"),
    "packed by gzip": lambda response: replace(response, body=gzip.compress(response.body)).with_header(
        "Content-Encoding", b"gzip"
    ),
    "in chunks": lambda response: replace(response, framing=Framing.CHUNKED),
    "in chunks without the last": lambda response: replace(response, framing=Framing.CHUNKED_CUT),
    "ended by closing": lambda response: replace(response, framing=Framing.CLOSED),
    "a mark of byte order": _around_json(b"\xef\xbb\xbf"),
    "blank lines around": _around_json(b"\r\n \n", b"\n\n"),
    "labelled as text": lambda response: response.with_header("Content-Type", b"text/plain; charset=latin-1"),
    "labelled as bytes": lambda response: response.with_header("Content-Type", b"application/octet-stream"),
    "with fields that nobody knows": _in_json(_with_odd_fields),
    "base64 in lines": _encoded(_in_lines),
    "base64 of addresses": _encoded(lambda text: text.translate(bytes.maketrans(b"+/", b"-_"))),
    "base64 without padding": _encoded(lambda text: text.rstrip(b"=")),
}

#: Instead of the response to the purchase: it has no image, and the job keeps what was returned.
USELESS: Mapping[str, RawResponse] = {
    "a gateway's binary": RawResponse(status=502, body=bytes(range(256)) * 4),
    "a gateway's packed page": RawResponse(status=502, body=gzip.compress(b"<html>502 Bad Gateway</html>")),
    "a page": RawResponse(status=200, headers=((b"Content-Type", b"text/html"),), body=b"<html>Please log in</html>"),
    "nothing": RawResponse(status=200),
    "null": RawResponse(status=200, body=b"null"),
    "a list": RawResponse(status=200, body=b"[1, 2]"),
    "a text": RawResponse(status=200, body=b'"queued"'),
    "a nest": RawResponse(status=200, body=b"[" * 50_000 + b"]" * 50_000),
    "half of it": RawResponse(status=200, body=b'{"id": "p1", "data": [{"b64', framing=Framing.SHORT),
    "an error with NUL": RawResponse(
        status=500, body=b'{"error": {"message": "weights \\u0000ELF", "code": "E\\u0000"}}'
    ),
    "an error in halves of letters": RawResponse(
        status=500, body=b'{"error": {"message": "no \\ud83d", "code": "\\udc00"}}'
    ),
    "an error of two megabytes": RawResponse(status=500, body=json.dumps({"error": "word " * 400_000}).encode()),
    "silence": RawResponse(status=200, framing=Framing.SILENT),
}


class Mutations:
    """Random alterations of the responses to one job, determined by a seed."""

    def __init__(self, seed: str, *, steps: int) -> None:
        self._random = random.Random(seed)
        often = self._random.choice((1, 1, 1, 2, 3))
        self._steps = {self._random.randrange(steps) for _ in range(often)}

    def __call__(self, number: int, response: RawResponse) -> RawResponse:
        """Returns the response of a step, altered or not."""
        if number not in self._steps:
            return response
        for _ in range(self._random.choice((1, 1, 1, 2, 4))):
            kinds = (self._value, self._value, self._value, self._bytes, self._header, self._status, self._framing)
            response = self._random.choice(kinds)(response)
        return response

    def _value(self, response: RawResponse) -> RawResponse:
        if not response.is_json:
            return self._bytes(response)
        body = json.loads(response.body)
        paths = list(_paths(body))
        path = self._random.choice(paths)
        return response.with_json(self._changed(body, path))

    def _changed(self, body: Any, path: tuple[Any, ...]) -> Any:
        if not path:
            return self._random.choice((*ODD_VALUES, [body], {"data": body}, json.dumps(body)))
        node = body
        for part in path[:-1]:
            node = node[part]
        last = path[-1]
        match self._random.randrange(6):
            case 0:
                del node[last]
            case 1 if isinstance(node, list):
                node.insert(last, node[last])
            case 2 if isinstance(node, dict) and isinstance(last, str):
                node[self._random.choice((last.upper(), f"{last}s", f"x_{last}", last.replace("_", "")))] = node.pop(
                    last
                )
            case 3:
                node[last] = [node[last]] if self._random.random() < 0.5 else {"value": node[last]}
            case 4 if isinstance(node[last], str | int | float):
                node[last] = str(node[last]) + self._random.choice(ODD_TEXTS)
            case _:
                node[last] = self._random.choice(ODD_VALUES)
        return body

    def _bytes(self, response: RawResponse) -> RawResponse:
        body = response.body
        at = self._random.randrange(len(body) + 1)
        match self._random.randrange(6):
            case 0:
                body = body[:at]
            case 1:
                body = body[:at] + self._random.randbytes(self._random.choice((1, 3, 40))) + body[at:]
            case 2:
                body = gzip.compress(body)
            case 3:
                body = b"\xef\xbb\xbf" + body
            case 4:
                body = body[:at] + b"\x00" + body[at + 1 :]
            case _:
                body = body + self._random.choice((b"\n", b"\x00", b"<!-- cached -->", body))
        return replace(response, body=body)

    def _header(self, response: RawResponse) -> RawResponse:
        return response.with_header(*self._random.choice(ODD_HEADERS))

    def _status(self, response: RawResponse) -> RawResponse:
        return replace(response, status=self._random.choice(STATUSES))

    def _framing(self, response: RawResponse) -> RawResponse:
        return replace(response, framing=self._random.choice(tuple(Framing)))


def _paths(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    members = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, inner in members:
        yield from _paths(inner, (*path, name))
