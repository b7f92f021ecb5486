"""Options of a job that its provider does not let jobs set: `provider_options` is deny by default."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from services.job.domain.providers import OptionRule, OptionRules
from services.job.domain.refusals import Violation

#: Objects within objects deeper than this are refused.
MAX_DEPTH = 8
#: Violations that are named, and characters of the names that one lists.
MAX_NAMED, LONGEST_LIST = 8, 300


def violations(options: Mapping[str, Any], rules: OptionRules | None, *, provider: str) -> Iterator[Violation]:
    """Each option that no rule allows, by its path. Nothing where the provider's generator does not say its rules."""
    if rules is None or rules.any:
        return
    known = {rule.path: rule for rule in rules.rules}
    for count, (path, value) in enumerate(_paths(options, known)):
        if count == MAX_NAMED:
            return
        rule = known.get(path)
        if rule is None:
            takes = f"It takes {_shortened(', '.join(known))}." if known else "It takes none."
            yield Violation(field=f"provider_options.{path[:100]}", message=f"{provider} takes no such option. {takes}")
        elif not _allows(rule, value):
            yield Violation(field=f"provider_options.{path}", message=f"Must be {_described(rule)}.")


def _paths(options: Mapping[str, Any], known: Mapping[str, OptionRule]) -> Iterator[tuple[str, Any]]:
    """Path and value of each option; an object is entered unless a rule names it, or it is nested too deeply."""
    left: list[tuple[tuple[str, ...], Any]] = [((name,), value) for name, value in options.items()]
    while left:
        path, value = left.pop()
        named = ".".join(path)
        if isinstance(value, Mapping) and named not in known and len(path) < MAX_DEPTH:
            left.extend(((*path, name), inner) for name, inner in value.items())
        else:
            yield named, value


def _shortened(names: str) -> str:
    """All violations together have to fit into the status of a gRPC call."""
    return names if len(names) <= LONGEST_LIST else f"{names[:LONGEST_LIST]} ..."


def _allows(rule: OptionRule, value: Any) -> bool:
    match rule.type:
        case "integer" | "number":
            return _is_number(value) and _is_within(rule, value) and (rule.type == "number" or value == int(value))
        case "boolean":
            return isinstance(value, bool)
        case "string":
            known = not rule.values or value in rule.values
            return isinstance(value, str) and known and len(value) <= (rule.max_characters or math.inf)
    # `any`; a type that a later version knows is checked by its generator.
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_within(rule: OptionRule, value: float) -> bool:
    least = -math.inf if rule.minimum is None else rule.minimum
    most = math.inf if rule.maximum is None else rule.maximum
    return least <= value <= most


def _described(rule: OptionRule) -> str:
    if rule.type in ("integer", "number"):
        kind = "a whole number" if rule.type == "integer" else "a number"
        least = "" if rule.minimum is None else f" from {rule.minimum:g}"
        most = "" if rule.maximum is None else f" to {rule.maximum:g}"
        return f"{kind}{least}{most}"
    if rule.values:
        return f"one of {_shortened(', '.join(rule.values))}"
    return "true or false" if rule.type == "boolean" else f"a string of at most {rule.max_characters:,} characters"
