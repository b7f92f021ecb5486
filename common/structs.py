"""Protobuf `Struct` fields as plain JSON; a `Struct` stores every number as a float."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

#: Bound of whole numbers: integer types of JSON readers end there, so a larger number was meant as a float.
MAX_WHOLE = 2**64


def plain(struct: Struct) -> dict[str, Any]:
    """Returns the fields as JSON values; whole numbers are integers: 30 instead of 30.0."""
    fields: dict[str, Any] = _whole(json_format.MessageToDict(struct))
    return fields


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < MAX_WHOLE
    return int(value) if is_whole else value
