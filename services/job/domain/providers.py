"""Providers as the generators register them: capabilities, models, prices and option rules."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a provider can do; the meaning of each field stands in `calotype.provider.v1.Capabilities`."""

    max_images_per_call: int = 1
    sizes: tuple[str, ...] = ()
    aspect_ratios: tuple[str, ...] = ()
    min_side: int = 0
    max_side: int = 0
    side_multiple: int = 1
    output_formats: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    seed: bool = False
    negative_prompt: bool = False
    max_input_images: int = 0
    mask: bool = False
    resumable: bool = False
    cancelable: bool = False
    idempotent: bool = False
    free: bool = False
    max_prompt_characters: int = 0
    backgrounds: tuple[str, ...] = ()
    output_compression: bool = False
    moderations: tuple[str, ...] = ()
    input_fidelities: tuple[str, ...] = ()
    max_ratio: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of a provider."""

    name: str
    price_micros_per_image: int | None = None
    #: None where they are those of its provider.
    capabilities: Capabilities | None = None


@dataclass(frozen=True, kw_only=True)
class OptionRule:
    """Values that jobs may give for one option; see `calotype.provider.v1.OptionRule`."""

    path: str
    type: str
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()
    max_characters: int = 0


@dataclass(frozen=True, kw_only=True)
class OptionRules:
    """Options that jobs may set at a provider; what no rule names is refused."""

    any: bool = False
    rules: tuple[OptionRule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One entry of the catalogue."""

    name: str
    kind: str
    is_default: bool
    default_model: str
    models: tuple[Model, ...] = ()
    capabilities: Capabilities = Capabilities()
    max_concurrency: int = 0
    requests_per_minute: int = 0
    timeout_seconds: int = 300
    #: None where its generator does not say.
    option_rules: OptionRules | None = None

    def as_model(self, name: str) -> "Provider":
        """The provider as it is for those who ask for this model."""
        own = next((model.capabilities for model in self.models if model.name == name), None)
        return self if own is None else replace(self, capabilities=own)
