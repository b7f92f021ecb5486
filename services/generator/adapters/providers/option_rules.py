"""Rules for the options that jobs may set: those that a provider kind knows to be harmless, changed by the file.

An option is named by its path in `provider_options`, with dots: `generationConfig.temperature`. An option without a
rule is refused, so that a job can neither switch off a safety setting nor order something that has no price.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from calotype.error_reasons import Code, Reason
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.generator.domain.provider_results import Acceptance, ProviderError

#: Deepest nesting of objects whose options are read one by one.
MAX_DEPTH = 8


class OptionRule(BaseModel):
    """Values that jobs may give to one option."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Literal["integer", "number", "boolean", "string", "any"]
    """Type of the value; `any` accepts everything."""
    minimum: float | None = Field(default=None, allow_inf_nan=False)
    """Smallest value of `integer` and `number`; left out, no bound."""
    maximum: float | None = Field(default=None, allow_inf_nan=False)
    """Largest value of `integer` and `number`; left out, no bound."""
    values: tuple[str, ...] = Field(default=(), max_length=200)
    """The only values of `string`; empty, any string."""
    max_characters: int = Field(default=1000, ge=1, le=32_000)
    """Longest value of `string`, in characters."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> "OptionRule":
        if self.type not in ("integer", "number") and (self.minimum, self.maximum) != (None, None):
            raise ValueError("minimum and maximum are for integer and number: leave them out, or change the type")
        if self.type != "string" and (self.values or "max_characters" in self.model_fields_set):
            raise ValueError("values and max_characters are for string: leave them out, or change the type")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum is larger than maximum")
        return self

    def allows(self, value: Any) -> bool:
        """Returns whether a job may give this value."""
        match self.type:
            case "any":
                return True
            case "boolean":
                return isinstance(value, bool)
            case "string":
                listed = not self.values or value in self.values
                return isinstance(value, str) and listed and len(value) <= self.max_characters
            case _:
                types = int if self.type == "integer" else (int, float)
                return isinstance(value, types) and not isinstance(value, bool) and self._is_within(value)

    def describe(self) -> str:
        """Returns the allowed values as text for error messages: `a number from 0 to 30`."""
        if self.type in ("integer", "number"):
            noun = "a whole number" if self.type == "integer" else "a number"
            minimum = "" if self.minimum is None else f" from {self.minimum:g}"
            maximum = "" if self.maximum is None else f" to {self.maximum:g}"
            return f"{noun}{minimum}{maximum}"
        if self.values:
            return f"one of {', '.join(self.values)}"
        return {"boolean": "true or false", "any": "anything"}.get(
            self.type, f"a string of at most {self.max_characters:,} characters"
        )

    def _is_within(self, value: float) -> bool:
        minimum = -math.inf if self.minimum is None else self.minimum
        maximum = math.inf if self.maximum is None else self.maximum
        return math.isfinite(value) and minimum <= value <= maximum


#: Rules by the path of their option.
Rules = Mapping[str, OptionRule]


def integer(minimum: int, maximum: int) -> OptionRule:
    """Returns a rule for whole numbers from `minimum` to `maximum`."""
    return OptionRule(type="integer", minimum=minimum, maximum=maximum)


def number(minimum: float, maximum: float) -> OptionRule:
    """Returns a rule for numbers from `minimum` to `maximum`."""
    return OptionRule(type="number", minimum=minimum, maximum=maximum)


def one_of(*values: str) -> OptionRule:
    """Returns a rule for a string that is one of `values`."""
    return OptionRule(type="string", values=values)


BOOLEAN = OptionRule(type="boolean")
#: Options of most diffusion models; more steps take more time, and cost more at some providers.
OF_DIFFUSION: Rules = {
    "guidance": number(0, 30),
    "guidance_scale": number(0, 30),
    "num_inference_steps": integer(1, 50),
    "strength": number(0, 1),
}


def refuse_others(provider: str, options: Mapping[str, Any], rules: Rules) -> None:
    """Raises `ProviderError` for the first option that no rule allows, before anything is sent."""
    for path, value in paths(options, rules):
        rule = rules.get(path)
        if rule is None:
            known = f"allowed are {', '.join(sorted(rules))}"[:1000] if rules else "it takes none"
            raise _error(f"{provider} takes no option {path[:100]!r}: {known}.")
        if not rule.allows(value):
            raise _error(f"The option {path} of {provider} must be {rule.describe()}.")


def paths(options: Mapping[str, Any], rules: Rules) -> Iterator[tuple[str, Any]]:
    """Yields path and value of each option.

    The options inside an object have paths of their own, unless a rule names the object or it lies `MAX_DEPTH` deep.
    """
    pending: list[tuple[tuple[str, ...], Any]] = [((str(name),), value) for name, value in options.items()]
    while pending:
        parts, value = pending.pop()
        path = ".".join(parts)
        if isinstance(value, Mapping) and path not in rules and len(parts) < MAX_DEPTH:
            pending.extend(((*parts, str(name)), inner) for name, inner in value.items())
        else:
            yield path, value


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns both together, object by object; where both have a value, `over` wins."""
    both = {**under, **over}
    for name, value in over.items():
        below = under.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            both[name] = merged(below, value)
    return both


def _error(message: str) -> ProviderError:
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.UNSUPPORTED,
        message=message,
        retryable=False,
        acceptance=Acceptance.NOT_ACCEPTED,
    )
