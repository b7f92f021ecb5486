"""Messages between the service and its decoding processes: two lengths, a JSON head, a body of bytes."""

import json
import struct
from typing import IO, Any

_LENGTHS = struct.Struct(">II")
#: Limit on the head in bytes.
MAX_HEAD = 4096


def send(pipe: IO[bytes], head: dict[str, Any], body: bytes) -> None:
    """Writes a message. Raises `OSError` when the other end is closed."""
    encoded = json.dumps(head).encode()
    pipe.write(_LENGTHS.pack(len(encoded), len(body)) + encoded)
    pipe.write(body)
    pipe.flush()


def receive(pipe: IO[bytes], *, limit: int) -> tuple[dict[str, Any], bytes]:
    """Reads head and body of a message, the body of up to `limit` bytes. Raises `EOFError` for any other input."""
    lengths = pipe.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        raise EOFError
    head_length, body_length = _LENGTHS.unpack(lengths)
    if head_length > MAX_HEAD or body_length > limit:
        raise EOFError
    encoded, body = pipe.read(head_length), pipe.read(body_length)
    if len(encoded) < head_length or len(body) < body_length:
        raise EOFError
    try:
        head = json.loads(encoded)
    except ValueError as error:
        raise EOFError from error
    match head:
        case dict():
            return head, body
        case _:
            raise EOFError
