"""Free fields of messages: a Struct knows no whole numbers, those who read it do."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

#: Beyond that no integer type of any JSON reader goes; such a number was meant as a fraction.
MOST_WHOLE = 2**64


def plain(struct: Struct) -> dict[str, Any]:
    """The fields as JSON has them: what was sent as 30 is 30 again, not 30.0."""
    found: dict[str, Any] = _whole(json_format.MessageToDict(struct))
    return found


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < MOST_WHOLE
    return int(value) if is_whole else value
