"""Dotted paths into JSON: names of fields, indexes of elements (from 0), and `*` for each element of a list."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

EACH = "*"
DottedPath = Annotated[str, Field(max_length=300, pattern=r"^(\*|[^.\s{}*]+)(\.(\*|[^.\s{}*]+))*$")]


def values_at(content: Any, path: str) -> list[Any]:
    """Returns the values at a path: at most one, or with `*` one for each element that has the path."""
    values = [content]
    for part in path.split("."):
        values = [inner for value in values for inner in _inside(value, part)]
    return values


def _inside(value: Any, part: str) -> list[Any]:
    if isinstance(value, list):
        if part == EACH:
            return value
        return [value[int(part)]] if _is_index(part) and int(part) < len(value) else []
    return [value[part]] if isinstance(value, dict) and part in value else []


def put(target: Any, path: str, value: Any) -> None:
    """Writes a value at a path and creates missing objects. Raises `ValueError` if another type is in the way.

    With `*`, the value is a list, and each of its elements becomes an element of the list at that path.
    """
    before, each, after = path.partition(f".{EACH}")
    if each:
        value = [_made(after.removeprefix("."), item) if after else item for item in value]
    *way, last = before.split(".")
    for part in way:
        target = _step(target, part)
    if isinstance(target, dict):
        target[last] = value
    elif isinstance(target, list) and _is_index(last) and int(last) < len(target):
        target[int(last)] = value
    else:
        raise ValueError(f"{path} is not a place in the body")


def at(target: Any, path: str) -> dict[str, Any]:
    """Returns the object at a path, created if missing. Raises `ValueError` if another type is in the way."""
    for part in path.split(".") if path else ():
        target = _step(target, part)
    if isinstance(target, dict):
        return target
    raise ValueError(f"{path or 'the body'} is not an object")


def _step(target: Any, part: str) -> Any:
    if isinstance(target, dict):
        return target.setdefault(part, {})
    if isinstance(target, list) and _is_index(part) and int(part) < len(target):
        return target[int(part)]
    raise ValueError(f"{part} is not a place in the body")


def _made(path: str, value: Any) -> Mapping[str, Any]:
    made: dict[str, Any] = {}
    put(made, path, value)
    return made


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) <= 6
