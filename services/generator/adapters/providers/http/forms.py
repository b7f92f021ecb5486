"""Values as fields of a form, which has only text."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def fields(values: Mapping[str, Any]) -> dict[str, str | Sequence[str]]:
    """Returns the fields by name: booleans, numbers and objects as JSON, lists as a repeated `name[]`, without None."""
    found: dict[str, str | Sequence[str]] = {}
    for name, value in values.items():
        if isinstance(value, list | tuple):
            found[f"{name}[]"] = [text(item) for item in value if item is not None]
        elif value is not None:
            found[name] = text(value)
    return found


def text(value: Any) -> str:
    """Returns one value as text: a string unchanged, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
