"""Forms in vendors' spelling: a form knows text alone, and no two of them write other things alike."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def fields(values: Mapping[str, Any]) -> dict[str, str | Sequence[str]]:
    """Values by name: `true` and `false`, numbers as JSON has them, objects as JSON, lists as a repeated `name[]`.

    Null is nothing.
    """
    found: dict[str, str | Sequence[str]] = {}
    for name, value in values.items():
        if isinstance(value, list | tuple):
            found[f"{name}[]"] = [text(one) for one in value if one is not None]
        elif value is not None:
            found[name] = text(value)
    return found


def text(value: Any) -> str:
    """One value."""
    return value if isinstance(value, str) else json.dumps(value)
