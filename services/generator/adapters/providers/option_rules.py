"""Options that jobs may set at a provider: those that its kind knows to be harmless, unless the provider file differs.

An option is named by its path in `provider_options`, with dots: `generationConfig.temperature`. What no rule allows is
refused, so that a job can neither switch off what the operator relies on nor order what nobody has priced.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.generator.domain.provider_results import Acceptance, ProviderError

#: Objects within objects deeper than this are refused.
MAX_DEPTH = 8


class OptionRule(BaseModel):
    """Values that jobs may give for an option."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["integer", "number", "boolean", "string", "any"]
    #: Bounds of numbers, themselves allowed; None is no bound.
    minimum: float | None = Field(default=None, allow_inf_nan=False)
    maximum: float | None = Field(default=None, allow_inf_nan=False)
    #: The only strings allowed; empty: any string.
    values: tuple[str, ...] = Field(default=(), max_length=200)
    #: Longest string, in characters.
    max_characters: int = Field(default=1000, ge=1, le=32_000)

    @model_validator(mode="after")
    def _bounds_fit(self) -> "OptionRule":
        if self.type not in ("integer", "number") and (self.minimum, self.maximum) != (None, None):
            raise ValueError("minimum and maximum are for integer and number")
        if self.type != "string" and (self.values or "max_characters" in self.model_fields_set):
            raise ValueError("values and max_characters are for string")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum is larger than maximum")
        return self

    def allows(self, value: Any) -> bool:
        """Whether a job may give this value."""
        match self.type:
            case "any":
                return True
            case "boolean":
                return isinstance(value, bool)
            case "string":
                known = not self.values or value in self.values
                return isinstance(value, str) and known and len(value) <= self.max_characters
            case _:
                kinds = int if self.type == "integer" else (int, float)
                return isinstance(value, kinds) and not isinstance(value, bool) and self._is_within(value)

    def describe(self) -> str:
        """The values that are allowed, in words."""
        if self.type in ("integer", "number"):
            kind = "a whole number" if self.type == "integer" else "a number"
            least = "" if self.minimum is None else f" from {self.minimum:g}"
            most = "" if self.maximum is None else f" to {self.maximum:g}"
            return f"{kind}{least}{most}"
        if self.values:
            return f"one of {', '.join(self.values)}"
        return {"boolean": "true or false", "any": "anything"}.get(
            self.type, f"a string of at most {self.max_characters:,} characters"
        )

    def _is_within(self, value: float) -> bool:
        least = -math.inf if self.minimum is None else self.minimum
        most = math.inf if self.maximum is None else self.maximum
        return math.isfinite(value) and least <= value <= most


Rules = Mapping[str, OptionRule]


def integer(minimum: int, maximum: int) -> OptionRule:
    """Whole numbers within bounds."""
    return OptionRule(type="integer", minimum=minimum, maximum=maximum)


def number(minimum: float, maximum: float) -> OptionRule:
    """Numbers within bounds."""
    return OptionRule(type="number", minimum=minimum, maximum=maximum)


def one_of(*values: str) -> OptionRule:
    """Strings of a list."""
    return OptionRule(type="string", values=values)


BOOLEAN = OptionRule(type="boolean")
#: What most diffusion models know by these names; more steps cost more time, and at some providers more money.
OF_DIFFUSION: Rules = {
    "guidance": number(0, 30),
    "guidance_scale": number(0, 30),
    "num_inference_steps": integer(1, 50),
    "strength": number(0, 1),
}


def refuse_others(provider: str, options: Mapping[str, Any], rules: Rules) -> None:
    """Raises `ProviderError` for the first option that no rule allows; nothing has been sent by then."""
    for path, value in paths(options, rules):
        rule = rules.get(path)
        if rule is None:
            known = f"it takes {', '.join(sorted(rules))}"[:1000] if rules else "it takes none"
            raise _refusal(f"{provider} takes no option {path[:100]!r}: {known}.")
        if not rule.allows(value):
            raise _refusal(f"The option {path} of {provider} must be {rule.describe()}.")


def paths(options: Mapping[str, Any], rules: Rules) -> Iterator[tuple[str, Any]]:
    """Path and value of each option; an object is entered unless a rule names it, or it is nested too deeply."""
    left: list[tuple[tuple[str, ...], Any]] = [((str(name),), value) for name, value in options.items()]
    while left:
        path, value = left.pop()
        named = ".".join(path)
        if isinstance(value, Mapping) and named not in rules and len(path) < MAX_DEPTH:
            left.extend(((*path, str(name)), inner) for name, inner in value.items())
        else:
            yield named, value


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both together, object by object; where both give a value, it is that of `over`."""
    both = {**under, **over}
    for name, value in over.items():
        below = under.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            both[name] = merged(below, value)
    return both


def _refusal(message: str) -> ProviderError:
    return ProviderError(
        code="PERMANENT", reason="UNSUPPORTED", message=message, retryable=False, acceptance=Acceptance.NOT_ACCEPTED
    )
