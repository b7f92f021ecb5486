"""From raw body to a checked one; errors name the field as the client wrote it."""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.problems.problem import Violation, invalid
from gateway.requests.strict_json import join
from gateway.schemas.requests import Body

B = TypeVar("B", bound=Body)
_WORDS = {
    "extra_forbidden": "There is no such field.",
    "missing": "Is required.",
    "int_type": "Must be a whole number.",
    "bool_type": "Must be true or false.",
    "string_type": "Must be text.",
    "dict_type": "Must be an object.",
    "list_type": "Must be a list.",
    "model_type": "Must be an object.",
}


def check(kind: type[B], value: dict[str, Any]) -> B:
    """The body as a value. Raises `Problem` INVALID_INPUT."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise invalid(violations(error)) from None


def violations(error: ValidationError, *, skip: int = 0) -> list[Violation]:
    """What pydantic found, without the values; `skip` leaves out leading parts of each place."""
    # Input and context are left out: they repeat what the client sent, which may be a picture of megabytes.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [Violation(field=_field(one["loc"][skip:]), message=_words(one["type"], one["msg"])) for one in found]


def _field(place: Iterable[str | int]) -> str:
    path = ""
    for part in place:
        # pydantic marks an error in a key itself so.
        if part != "[key]":
            path = join(path, str(part))
    return path or "body"


def _words(kind: str, message: str) -> str:
    return _WORDS.get(kind) or message.removeprefix("Value error, ")
