"""Validates the query parameters of a list; errors name the parameter."""

from collections.abc import Collection
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from gateway.problems.problem import Violation, invalid
from gateway.requests import validation

Q = TypeVar("Q", bound=BaseModel)


def check(schema: type[Q], request: Request, *, repeated: Collection[str] = ()) -> Q:
    """Returns the validated parameters; those in `repeated` are lists.

    Raises `Problem` INVALID_INPUT, also for another one that is sent twice.
    """
    values: dict[str, Any] = {}
    violations: list[Violation] = []
    for name, value in request.query_params.multi_items():
        if name in repeated:
            values.setdefault(name, []).append(value)
            continue
        if name in values:
            violations.append(Violation(field=name, message="Send each parameter once."))
        values.setdefault(name, value)
    try:
        query = schema.model_validate(values)
    except ValidationError as error:
        violations += validation.violations(error)
    if violations:
        raise invalid(violations)
    return query
