"""Validates a request against its schema; errors name the field as the client wrote it."""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.problems.problem import Violation, invalid
from gateway.requests.strict_json import join
from gateway.schemas.requests import Body

B = TypeVar("B", bound=Body)
#: By pydantic's type of error, where its own message is not plain enough.
_MESSAGES = {
    "extra_forbidden": "Unknown field.",
    "missing": "This field is required.",
    "int_type": "Must be a whole number.",
    "bool_type": "Must be true or false.",
    "string_type": "Must be a string.",
    "dict_type": "Must be an object.",
    "list_type": "Must be a list.",
    "model_type": "Must be an object.",
}
#: By the last part of a field's path, where pydantic would show a regular expression.
_FORMATS = {
    "size": "Write WIDTHxHEIGHT in pixels, such as 1024x768.",
    "aspect_ratio": "Write WIDTH:HEIGHT, such as 16:9.",
    "content_type": "Write an image type, such as image/png.",
    "model": "Write PROVIDER or PROVIDER/MODEL, as GET /v1/models lists them.",
}


def check(schema: type[B], value: dict[str, Any]) -> B:
    """Returns the validated body. Raises `Problem` INVALID_INPUT."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise invalid(violations(error)) from None


def violations(error: ValidationError) -> list[Violation]:
    """Returns pydantic's errors without the values that the client sent, which may be images of megabytes."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        Violation(field=_field(detail["loc"]), message=_message(detail["type"], detail["loc"], detail["msg"]))
        for detail in details
    ]


def _field(location: Iterable[str | int]) -> str:
    path = ""
    for part in location:
        # pydantic adds this part where a key itself is invalid.
        if part != "[key]":
            path = join(path, str(part))
    return path or "body"


def _message(error_type: str, location: tuple[str | int, ...], message: str) -> str:
    if error_type == "string_pattern_mismatch" and location and location[-1] in _FORMATS:
        return _FORMATS[str(location[-1])]
    return _MESSAGES.get(error_type) or message.removeprefix("Value error, ")
