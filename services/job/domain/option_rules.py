"""Checks `provider_options` against the provider's rules; an option without a rule is refused."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from services.job.domain.providers import OptionRule, OptionRules
from services.job.domain.refusals import Violation

#: Levels of nested objects that are searched for options; a deeper object is one option.
MAX_DEPTH = 8
#: Violations that are reported, and characters of the names that one of them lists.
MAX_NAMED, LONGEST_LIST = 8, 300


def violations(options: Mapping[str, Any], rules: OptionRules | None, *, provider: str) -> Iterator[Violation]:
    """Yields each option that no rule allows, by its path; nothing when `rules` is None, as they are not known."""
    if rules is None or rules.any:
        return
    known = {rule.path: rule for rule in rules.rules}
    for count, (path, value) in enumerate(_paths(options, known)):
        if count == MAX_NAMED:
            return
        rule = known.get(path)
        if rule is None:
            accepts = f"It accepts {_shortened(', '.join(known))}." if known else "It accepts none."
            message = f"{provider} accepts no such option. {accepts}"
            yield Violation(field=f"provider_options.{path[:100]}", message=message)
        elif not _allows(rule, value):
            yield Violation(field=f"provider_options.{path}", message=f"Must be {_described(rule)}.")


def _paths(options: Mapping[str, Any], known: Mapping[str, OptionRule]) -> Iterator[tuple[str, Any]]:
    """Yields path and value of each option; enters an object unless a rule names it or it is nested too deeply."""
    pending: list[tuple[tuple[str, ...], Any]] = [((name,), value) for name, value in options.items()]
    while pending:
        parts, value = pending.pop()
        path = ".".join(parts)
        if isinstance(value, Mapping) and path not in known and len(parts) < MAX_DEPTH:
            pending.extend(((*parts, name), inner) for name, inner in value.items())
        else:
            yield path, value


def _shortened(names: str) -> str:
    """Cuts a list of names, so that all violations together fit into the status of a gRPC call."""
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
    # `any`, or a type of a later version, which its generator checks.
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_within(rule: OptionRule, value: float) -> bool:
    minimum = -math.inf if rule.minimum is None else rule.minimum
    maximum = math.inf if rule.maximum is None else rule.maximum
    return minimum <= value <= maximum


def _described(rule: OptionRule) -> str:
    if rule.type in ("integer", "number"):
        kind = "a whole number" if rule.type == "integer" else "a number"
        minimum = "" if rule.minimum is None else f" from {rule.minimum:g}"
        maximum = "" if rule.maximum is None else f" to {rule.maximum:g}"
        return f"{kind}{minimum}{maximum}"
    if rule.values:
        return f"one of {_shortened(', '.join(rule.values))}"
    return "true or false" if rule.type == "boolean" else f"a string of at most {rule.max_characters:,} characters"
