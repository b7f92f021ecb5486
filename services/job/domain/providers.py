"""Providers as the generators register them: capabilities, models, prices and option rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a provider or one of its models can do, as in `calotype.provider.v1.Capabilities`."""

    #: Images that one call can make; larger jobs take several calls.
    max_images_per_call: int = 1
    #: Accepted sizes, `WIDTHxHEIGHT`; empty for any size within the side limits.
    sizes: tuple[str, ...] = ()
    #: Accepted ratios, such as `16:9`; empty when none can be requested.
    aspect_ratios: tuple[str, ...] = ()
    #: Shortest side in pixels; 0 when sizes are listed or cannot be chosen.
    min_side: int = 0
    #: Longest side in pixels; 0 when sizes are listed or cannot be chosen.
    max_side: int = 0
    #: Sides must be multiples of this; 0 and 1 allow any.
    side_multiple: int = 1
    #: Subset of `png`, `jpeg` and `webp`.
    output_formats: tuple[str, ...] = ()
    #: Accepted quality names; empty when none can be requested.
    qualities: tuple[str, ...] = ()
    #: Whether a seed is honoured.
    seed: bool = False
    #: Whether a negative prompt is honoured.
    negative_prompt: bool = False
    #: Input images per job; 0 for none.
    max_input_images: int = 0
    #: Whether a mask is honoured.
    mask: bool = False
    #: Whether a call has an operation id by which it can be followed after a crash.
    resumable: bool = False
    #: Whether a running call can be canceled.
    cancelable: bool = False
    #: Whether a repeated call with the same idempotency key is never charged twice.
    idempotent: bool = False
    #: Whether calls cost nothing, so that repeating them is harmless.
    free: bool = False
    #: Longest prompt; 0 for no limit of the provider's.
    max_prompt_characters: int = 0
    #: Accepted values of `background`; empty when none can be requested.
    backgrounds: tuple[str, ...] = ()
    #: Whether `output_compression` is honoured.
    output_compression: bool = False
    #: Accepted values of `moderation`; empty when none can be requested.
    moderations: tuple[str, ...] = ()
    #: Accepted values of `input_fidelity`; empty when none can be requested.
    input_fidelities: tuple[str, ...] = ()
    #: Largest ratio of the longer to the shorter side; 0 for any. Applies where `sizes` is empty.
    max_ratio: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of a provider."""

    #: Name that jobs use.
    name: str
    #: Price in millionths of a US dollar; None when unknown.
    price_micros_per_image: int | None = None
    #: The model's own capabilities; None when the provider's apply.
    capabilities: Capabilities | None = None


@dataclass(frozen=True, kw_only=True)
class OptionRule:
    """Allowed values of one provider option, as in `calotype.provider.v1.OptionRule`."""

    #: Path in `provider_options`, with dots between the names of nested objects.
    path: str
    #: `integer`, `number`, `boolean`, `string` or `any`.
    type: str
    #: Smallest number; None for no bound.
    minimum: float | None = None
    #: Largest number; None for no bound.
    maximum: float | None = None
    #: Allowed strings; empty for any.
    values: tuple[str, ...] = ()
    #: Longest string; 0 for no bound.
    max_characters: int = 0


@dataclass(frozen=True, kw_only=True)
class OptionRules:
    """Options that jobs may set at a provider; an option without a rule is refused."""

    #: Whether every option is allowed.
    any: bool = False
    #: One rule per option.
    rules: tuple[OptionRule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One entry of the catalogue."""

    #: Name that jobs use.
    name: str
    #: Name of the adapter, such as `replicate`.
    kind: str
    #: Whether jobs that name no provider use it.
    is_default: bool
    #: Model of jobs that name none.
    default_model: str
    #: Models that jobs may name; empty for `default_model` alone.
    models: tuple[Model, ...] = ()
    #: Capabilities of every model without its own.
    capabilities: Capabilities = Capabilities()
    #: Calls that may be open at once, over all generators; 0 for no limit.
    max_concurrency: int = 0
    #: Calls that may begin within a minute, over all generators; 0 for no limit.
    requests_per_minute: int = 0
    #: Longest duration of one call.
    timeout_seconds: int = 300
    #: Options that jobs may set; None when the generator is of a version that does not report rules.
    option_rules: OptionRules | None = None
    #: Other names of its models in the OpenAI API, with the model of each.
    aliases: Mapping[str, str] = field(default_factory=dict)

    def as_model(self, name: str) -> "Provider":
        """Returns the provider with the capabilities of one model."""
        own = next((model.capabilities for model in self.models if model.name == name), None)
        return self if own is None else replace(self, capabilities=own)
