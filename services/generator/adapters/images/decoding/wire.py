"""Messages between the service and its decoding processes: a head in JSON and a body of bytes, after their lengths."""

import json
import struct
from typing import IO, Any

_LENGTHS = struct.Struct(">II")
MOST_HEAD = 4096


def send(pipe: IO[bytes], head: dict[str, Any], body: bytes) -> None:
    """Write a message. Raises `OSError` where nobody reads it."""
    written = json.dumps(head).encode()
    pipe.write(_LENGTHS.pack(len(written), len(body)) + written)
    pipe.write(body)
    pipe.flush()


def receive(pipe: IO[bytes], *, most: int) -> tuple[dict[str, Any], bytes]:
    """Read a message whose body has at most so many bytes. Raises `EOFError` where there is none, or another."""
    lengths = pipe.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        raise EOFError
    head, body = _LENGTHS.unpack(lengths)
    if head > MOST_HEAD or body > most:
        raise EOFError
    written, data = pipe.read(head), pipe.read(body)
    if len(written) < head or len(data) < body:
        raise EOFError
    try:
        told = json.loads(written)
    except ValueError as error:
        raise EOFError from error
    match told:
        case dict():
            return told, data
        case _:
            raise EOFError
