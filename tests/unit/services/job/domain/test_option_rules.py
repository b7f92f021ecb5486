"""Options of a job: only those that its provider's rules allow, each by its path, and nothing hidden in an object."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.job.domain.option_rules import MAX_NAMED, violations
from services.job.domain.providers import OptionRule, OptionRules

RULES = OptionRules(
    rules=(
        OptionRule(path="steps", type="integer", minimum=1, maximum=50),
        OptionRule(path="guidance", type="number", minimum=0, maximum=10),
        OptionRule(path="fast", type="boolean"),
        OptionRule(path="style", type="string", values=("ink", "oil")),
        OptionRule(path="words", type="string", max_characters=5),
        OptionRule(path="config.temperature", type="number", maximum=2),
        OptionRule(path="controls", type="any"),
        OptionRule(path="3.inputs.steps", type="integer", minimum=1),
    )
)
ALLOWED: list[dict[str, Any]] = [
    {},
    {"steps": 1},
    {"steps": 50.0},
    {"guidance": 0.5, "fast": False},
    {"style": "ink", "words": "fives"},
    {"config": {"temperature": -3}},
    {"config": {}},
    {"controls": {"colors": [{"rgb": [1, 2, 3]}]}},
    {"controls": None},
    {"3.inputs.steps": 3},
    {"3": {"inputs": {"steps": 3}}},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"steps": 0}, "steps"),
    ({"steps": 51}, "steps"),
    ({"steps": 2.5}, "steps"),
    ({"steps": True}, "steps"),
    ({"steps": "4"}, "steps"),
    ({"steps": float("nan")}, "steps"),
    ({"guidance": float("inf")}, "guidance"),
    ({"fast": 1}, "fast"),
    ({"style": "fax"}, "style"),
    ({"style": ["ink"]}, "style"),
    ({"words": "sixsix"}, "words"),
    ({"safety_tolerance": 6}, "safety_tolerance"),
    ({"Steps": 4}, "Steps"),
    ({"config": {"temperature": 1, "safety": []}}, "config.safety"),
    ({"config": "hot"}, "config"),
    ({"config": {"temperature": {"value": 1}}}, "config.temperature"),
    ({"10.inputs.image": "other.png"}, "10.inputs.image"),
]


def fields(options: dict[str, Any], rules: OptionRules | None = RULES) -> list[str]:
    """The fields that are refused."""
    return [one.field for one in violations(options, rules, provider="flux")]


@pytest.mark.parametrize("options", ALLOWED)
def test_what_a_rule_allows_is_allowed(options: dict[str, Any]) -> None:
    assert fields(options) == []


@pytest.mark.parametrize(("options", "path"), REFUSED)
def test_all_else_is_refused_by_its_path(options: dict[str, Any], path: str) -> None:
    assert fields(options) == [f"provider_options.{path}"]


def test_the_refusal_says_what_is_taken() -> None:
    [unknown, wrong] = violations({"turbo": 1, "steps": 99}, RULES, provider="flux")

    assert "steps, guidance" in wrong.message + unknown.message
    assert "a whole number from 1 to 50" in wrong.message + unknown.message


@pytest.mark.parametrize("rules", [None, OptionRules(any=True)])
def test_where_anything_goes_or_no_rule_is_known_nothing_is_refused(rules: OptionRules | None) -> None:
    assert fields({"safety_tolerance": 6}, rules) == []


def test_without_rules_no_option_is_taken() -> None:
    assert fields({"a": 1}, OptionRules()) == ["provider_options.a"]


def test_a_thousand_wrong_options_are_not_all_named() -> None:
    assert len(fields({f"option_{number}": 1 for number in range(1000)})) == MAX_NAMED


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_no_object_hides_an_option(options: Any) -> None:
    given = {"outer": options} if not isinstance(options, dict) else options
    leaves = _leaves(given)
    known = {rule.path for rule in RULES.rules}

    if leaves - known and len(leaves) < MAX_NAMED:
        assert fields(given)


def _leaves(value: dict[str, Any], before: tuple[str, ...] = ()) -> set[str]:
    found: set[str] = set()
    for name, inner in value.items():
        path = (*before, name)
        if isinstance(inner, dict) and ".".join(path) not in {rule.path for rule in RULES.rules} and len(path) < 8:
            found |= _leaves(inner, path)
        else:
            found.add(".".join(path))
    return found
