"""Messages for an operator about values that the provider file's schema refuses, in place of pydantic's.

Every function takes the errors that pydantic lists, without their input: a value may be a secret.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

#: Where a value stands: keys of mappings and indexes of lists, from the outside in.
Location = tuple[int | str, ...]

_SECRET = re.compile(r"(api[_-]?)?(key|token|secret|password)|credentials?", re.IGNORECASE)
_SECRET_KEYS = ("api_key_env", "api_key_file")
#: By pydantic's type of the error; filled in with the error's context.
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a key of this table",
    "string_type": "must be text; put a number or a date into quotes",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} item(s)",
    "path_type": "must be a path, as text",
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list, such as [a, b]"),
    **dict.fromkeys(
        ("model_type", "model_attributes_type", "mapping_type", "dict_type"), "must be a mapping of keys to values"
    ),
}
_PATTERNS = {
    r"^[a-z0-9][a-z0-9_-]{0,62}$": (
        "must have 1 to 63 characters of a-z, 0-9, _ and -, and begin with a letter or a digit"
    ),
    r"^https?://[^/?#]+[^?#]*$": "must be an address that begins with http:// or https://, without ? and #",
    r"^\d{1,5}x\d{1,5}$": "must be WIDTHxHEIGHT in pixels, such as 1024x768",
    r"^\d{1,4}(\.\d{1,2})?:\d{1,4}(\.\d{1,2})?$": "must be WIDTH:HEIGHT in quotes, such as '16:9'",
    r"^[45](xx|\d\d)$": "must be an HTTP status from 400 to 599, or 4xx or 5xx",
    r"^[a-z]{2}(-[a-z]+)+-\d{1,2}$": "must be an AWS region, such as us-east-1",
    r"^/[A-Za-z0-9._~/{}?=&:@-]*$": "must be a path that begins with /, such as /images, without blanks",
    r"^[A-Za-z0-9][A-Za-z0-9_/-]{0,99}$": "must be a path without / in front, such as images/generations",
}


@dataclass(frozen=True, kw_only=True)
class SchemaProblem:
    """A mistake that a schema finds."""

    location: Location
    """Keys and indexes from the validated class down to the value."""
    message: str
    """What is wrong and what to write instead, without a full stop."""
    error: Mapping[str, Any]
    """Pydantic's error for it."""


def problems(errors: Sequence[Any], schema: type[BaseModel]) -> list[SchemaProblem]:
    """Returns every mistake among `errors` (`ValidationError.errors()`) of a class, at least one."""
    found: list[SchemaProblem] = []
    left = [error for error in errors if not _follows(error, errors)]
    while left:
        first = _preferred(left)
        problem, same = _problem(first, left, schema)
        found.append(problem)
        left = [error for error in left if not any(error is item for item in same) and not _is_misspelt(error, first)]
    return found


def _problem(first: Any, errors: Sequence[Any], schema: type[BaseModel]) -> tuple[SchemaProblem, Sequence[Any]]:
    """Returns the mistake that an error belongs to, and all errors that belong to it."""
    path, location, branch = _resolved(schema, first["loc"])
    if branch is None:
        return SchemaProblem(location=location, message=_message(first, path), error=first), [first]
    # A value that may be one of several types has an error for each of them: the deepest one is of the type meant.
    base = first["loc"][:branch]
    same = [error for error in errors if error["loc"][:branch] == base]
    deepest = max(same, key=lambda error: len(error["loc"]))
    if len(deepest["loc"]) > branch + 1:
        below = deepest["loc"][branch + 1 :]
        return SchemaProblem(location=(*location, *below), message=_message(deepest, path), error=deepest), same
    messages = list(dict.fromkeys(_message(error, path).partition(";")[0].removeprefix("must be ") for error in same))
    return SchemaProblem(location=location, message=f"must be {', or '.join(messages)}", error=first), same


def _follows(error: Any, errors: Sequence[Any]) -> bool:
    """Whether a list is too short only because its items have mistakes: pydantic counts the others."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(
        len(item["loc"]) > len(loc) and item["loc"][: len(loc)] == loc for item in errors
    )


def _is_misspelt(error: Any, unknown: Any) -> bool:
    """Whether a missing key is what an unknown key beside it was meant to be."""
    if (error["type"], unknown["type"]) != ("missing", "extra_forbidden") or error["loc"][:-1] != unknown["loc"][:-1]:
        return False
    return bool(difflib.get_close_matches(str(unknown["loc"][-1]), [str(error["loc"][-1])], n=1))


def _preferred(errors: Sequence[Any]) -> Any:
    """The first error; in place of a missing key an unknown one beside it, which may be that key misspelt."""
    first = errors[0]
    if first["type"] != "missing":
        return first
    beside = (
        error for error in errors if error["type"] == "extra_forbidden" and error["loc"][:-1] == first["loc"][:-1]
    )
    return next(beside, first)


def _resolved(schema: type[BaseModel], loc: Location) -> tuple[tuple[type[BaseModel], ...], Location, int | None]:
    """The classes that hold the last key, the location as the file has it, and where a union's branch is named.

    Pydantic's location also names the class that a `kind` chose, and the branch of a union that it tried.
    """
    classes: tuple[type[BaseModel], ...] = (schema,)
    holders, annotation = classes, None
    location: list[int | str] = []
    for number, part in enumerate(loc):
        chosen = [item for item in classes if len(classes) > 1 and _kind_of(item) == part]
        if chosen:
            classes = holders = (chosen[0],)
            continue
        if part == "[key]":
            continue
        if _is_branch(part, annotation):
            return holders, tuple(location), number
        location.append(part)
        holders = classes
        field = next((item.model_fields[part] for item in classes if part in item.model_fields), None)
        if field is not None:
            annotation = field.annotation
            classes = _classes_in(annotation)
    return holders, tuple(location), None


def _is_branch(part: int | str, annotation: Any) -> bool:
    """Whether pydantic names a type here in place of a key: `bool`, `str`, `tuple[...]`, `function-after[...]`."""
    if not isinstance(part, str) or annotation is None:
        return False
    return re.fullmatch(r"bool|int|float|str|constrained-str|(tuple|function-\w+)\[.*\]", part) is not None


def _kind_of(schema: type[BaseModel]) -> str | None:
    field = schema.model_fields.get("kind")
    names = get_args(field.annotation) if field is not None else ()
    return str(names[0]) if names else None


def _classes_in(annotation: Any) -> tuple[type[BaseModel], ...]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(found for item in get_args(annotation) for found in _classes_in(item))


def _message(error: Mapping[str, Any], holders: Sequence[type[BaseModel]]) -> str:
    context = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in error.get("ctx", {}).items()
    }
    match error["type"]:
        case "literal_error" if error["loc"][-1] == "[key]":
            return f"There is no key {str(error['loc'][-2])[:100]}; the keys here are {context['expected']}"
        case "extra_forbidden":
            return _unknown_key(str(error["loc"][-1]), sorted({key for item in holders for key in item.model_fields}))
        case "string_pattern_mismatch":
            return _PATTERNS.get(context["pattern"], f"must match the pattern {context['pattern']}")
        case "union_tag_invalid" | "union_tag_not_found" | "value_error":
            return str(error["msg"]).removeprefix("Value error, ")
        case known if known in _MESSAGES:
            return _MESSAGES[known].format(**context)
        case _:
            return str(error["msg"])


def _unknown_key(key: str, known: Sequence[str]) -> str:
    if _SECRET.fullmatch(key) and set(_SECRET_KEYS) <= set(known):
        return (
            f"There is no key {key[:100]}: write no secret into this file; use api_key_env (the name of the "
            "environment variable that holds it) or api_key_file (the path of a file)"
        )
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"There is no key {key[:100]}; did you mean {near[0]}?"
    keys = f"; the keys here are {', '.join(known)}" if known else "; there are no keys here"
    return f"There is no key {key[:100]}{keys}"
