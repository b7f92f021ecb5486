"""What every entry of the provider file has, whatever its kind."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from common.config import ConfigError
from services.generator.adapters.network.addresses import private_network
from services.generator.adapters.providers import option_rules
from services.generator.adapters.providers.option_rules import OptionRule, Rules
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, ProviderError


def _text_of_number(written: Any) -> Any:
    return str(written) if isinstance(written, int) else written


def _of_any(written: Any) -> Any:
    return {ANY: OptionRule(type="any")} if written == "any" else written


#: The path of all options, in place of `allowed_options: any`.
ANY = "*"
Size = Annotated[str, Field(pattern=r"^\d{1,5}x\d{1,5}$")]
OutputFormat = Literal["png", "jpeg", "webp"]
#: Whole numbers, or a decimal one such as in 19.5:9.
Ratio = Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,2})?:\d{1,4}(\.\d{1,2})?$")]
Micros = Annotated[int, Field(ge=0)]
#: A status of HTTP that is no success, or all of a hundred; YAML writes 503 as a number.
StatusPattern = Annotated[str, BeforeValidator(_text_of_number), Field(pattern=r"^[45](xx|\d\d)$")]


def _private_name(written: str) -> str:
    """A host, or a network that is private; metadata of platforms stays out of reach either way."""
    if private_network(written) is None and not _HOST.fullmatch(written):
        raise ValueError("neither a host name nor a private network such as 10.1.0.0/16")
    return written.lower()


_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
PrivateName = Annotated[str, AfterValidator(_private_name)]


class Strict(BaseModel):
    """Takes no field that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(Strict):
    """What an image of a quality and a size costs; what is left out may be any."""

    micros_per_image: Micros
    quality: str | None = None
    size: str | None = None

    def fits(self, quality: str | None, size: str | None) -> bool:
        """Whether it is the price of such an image."""
        return self.quality in (None, quality) and self.size in (None, size)


class TokenPrices(Strict):
    """What a million tokens cost, by what they stand for, in millionths of a US dollar."""

    text_input: Micros
    image_input: Micros
    image_output: Micros
    text_output: Micros | None = None


class ModelEntry(Strict):
    """One model of a provider; prices in millionths of a US dollar.

    `price_micros_per_image` is what is reckoned with before a call, and where nothing better tells what one has cost.
    """

    name: str = Field(min_length=1, max_length=200)
    price_micros_per_image: Micros | None = None
    #: In their order: the first that fits an image is its price.
    prices: tuple[Price, ...] = Field(default=(), max_length=64)
    #: For vendors whose answers tell the tokens that they are billed by.
    token_prices: TokenPrices | None = None

    #: What the kind's settings are for this model, where the entry's are not right for it.
    settings: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def most_per_image(self) -> int | None:
        """The price to reckon with: no image costs more by this file."""
        known = [one.micros_per_image for one in self.prices]
        if self.price_micros_per_image is not None:
            known.append(self.price_micros_per_image)
        return max(known, default=None)


class Defaults(Strict):
    """Fields of a request that are used when a job leaves them out."""

    negative_prompt: str | None = None
    size: str | None = Field(default=None, pattern=r"^\d{1,5}x\d{1,5}$")
    aspect_ratio: Ratio | None = None
    quality: str | None = None
    output_format: OutputFormat | None = None
    provider_options: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_shape(self) -> "Defaults":
        if self.size is not None and self.aspect_ratio is not None:
            raise ValueError("size and aspect_ratio exclude each other")
        return self

    def applied_to(self, request: Request) -> Request:
        """The request with what it leaves out; a size or a ratio of its own leaves no room for a default one."""
        has_shape = bool(request.size or request.aspect_ratio)
        return replace(
            request,
            negative_prompt=self.negative_prompt if request.negative_prompt is None else request.negative_prompt,
            size=request.size if has_shape else self.size,
            aspect_ratio=request.aspect_ratio if has_shape else self.aspect_ratio,
            quality=request.quality or self.quality,
            output_format=request.output_format or self.output_format,
            options=option_rules.merged(self.provider_options, request.options),
        )


class Entry(Strict):
    """What every provider has, whatever its kind."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    base_url: str | None = Field(default=None, pattern=r"^https?://[^/?#]+[^?#]*$")
    api_key_env: str | None = None
    api_key_file: Path | None = None
    default_model: str | None = None
    models: tuple[ModelEntry, ...] = ()
    settings: Strict
    max_concurrency: int = Field(default=0, ge=0)
    requests_per_minute: int = Field(default=0, ge=0)
    timeout_seconds: float = Field(default=300, ge=1)
    poll_interval_seconds: float = Field(default=1, gt=0)
    #: Host names and private networks, or all of the latter.
    allow_private_addresses: bool | tuple[PrivateName, ...] = False
    defaults: Defaults = Defaults()
    #: Options that jobs may set beside `harmless_options`: a rule each; None takes one away. `any` is for operators who
    #: write all jobs themselves.
    allowed_options: Annotated[Mapping[str, OptionRule | None], BeforeValidator(_of_any)] = Field(default_factory=dict)
    #: Options that every call has, whatever its job says.
    fixed_options: Mapping[str, Any] = Field(default_factory=dict)
    #: Whether images are delivered without what is neither colour nor provenance; on where a kind writes the workflow.
    strip_metadata: bool = False
    #: Options that the kind lets jobs set.
    harmless_options: ClassVar[Rules] = {}
    _of_models: dict[str, Strict] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _settings_of_models_fit(self) -> Self:
        for number, model in enumerate(self.models):
            if model.settings:
                self._of_models[model.name] = self._overlaid(model.settings, place=("models", number, "settings"))
        return self

    def settings_of(self, model: str) -> Any:
        """The settings for a model: its own on top of the entry's, field by field."""
        return self._of_models.get(model, self.settings)

    def narrowed_to(self, model: ModelEntry) -> Self:
        """The entry as if it had this one model alone, with its settings."""
        told = {"models": (model,), "default_model": model.name, "settings": self.settings_of(model.name)}
        return self.model_copy(update=told)

    def _overlaid(self, own: Mapping[str, Any], *, place: tuple[str | int, ...]) -> Strict:
        given = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        try:
            return type(self.settings).model_validate({**given, **own})
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            told = {"words": problem["msg"].removeprefix("Value error, "), "place": (*place, *problem["loc"])}
            raise PydanticCustomError("model_settings", "{words}", told) from error

    def option_rules(self) -> Rules | None:
        """The options that jobs may set, by path; None is any."""
        every = self.allowed_options.get(ANY)
        if every is not None and every.type == "any":
            return None
        fixed = {path for path, _ in option_rules.paths(self.fixed_options, {})}
        rules = {**self._known_options(), **self.allowed_options}
        return {path: rule for path, rule in rules.items() if rule is not None and path not in fixed}

    def request_for(self, model: str, request: Request) -> Request:
        """The request as it is sent: with defaults and fixed options.

        Raises `ProviderError` for a model that the file does not name, and for an option that jobs may not set.
        """
        if not self.has_model(model):
            raise ProviderError(
                code="PERMANENT",
                reason="INVALID_INPUT",
                message=f"{self.name} has no model {model[:100]!r}; it has {', '.join(self.model_names)[:1000]}.",
                retryable=False,
                acceptance=Acceptance.NOT_ACCEPTED,
            )
        rules = self.option_rules()
        if rules is not None:
            option_rules.refuse_others(self.name, request.options, rules)
        full = self.defaults.applied_to(request)
        return replace(full, options=option_rules.merged(full.options, self.fixed_options))

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables of the environment that the provider reads; `*` stands for anything."""
        return frozenset(filter(None, [self.api_key_env]))

    @property
    def credential_variables(self) -> frozenset[str]:
        """Those of `variables` that may hold credentials."""
        return self.variables

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models that jobs may name."""
        named = (self.default_model,) if self.default_model else ()
        return tuple(dict.fromkeys((*named, *(one.name for one in self.models))))

    def has_model(self, name: str) -> bool:
        """Whether a job may name the model."""
        return name in self.model_names

    def _known_options(self) -> Rules:
        return self.harmless_options

    def price_of(self, model: str) -> int | None:
        """The price of one image to reckon with; None when the file does not tell it."""
        known = self.model_of(model)
        return None if known is None else known.most_per_image

    def model_of(self, name: str) -> ModelEntry | None:
        """What the file says of a model."""
        return next((one for one in self.models if one.name == name), None)

    def api_key(self, environ: Mapping[str, str]) -> str:
        """The provider's credential. Raises `ConfigError` that names where it was looked for."""
        if self.api_key_file is not None:
            try:
                key = self.api_key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"provider {self.name}: cannot read api_key_file {self.api_key_file}.") from error
        else:
            key = environ.get(self.api_key_env or "", "").strip()
        named = f"api_key_file {self.api_key_file}" if self.api_key_file else self.api_key_env or "api_key_env"
        if not key:
            raise ConfigError(f"provider {self.name}: {named} is not set; it must hold the provider's key.")
        if not key.isascii() or not key.isprintable():
            raise ConfigError(f"provider {self.name}: {named} must hold printable ASCII characters alone.")
        return key


class RemoteEntry(Entry):
    """What every provider has that serves several models."""

    kind: str
    #: Statuses of a refused request that the vendor does not charge, as the operator knows from the bill: `503`, `5xx`.
    not_charged_on: tuple[StatusPattern, ...] = Field(default=(), max_length=20)
    #: Whether the adapter tells images of different prices apart.
    knows_prices: ClassVar[bool] = False

    @model_validator(mode="after")
    def _prices_are_known(self) -> "RemoteEntry":
        if not self.knows_prices and any(one.prices or one.token_prices for one in self.models):
            raise ValueError(f"the kind {self.kind} has one price per model: price_micros_per_image")
        return self

    @model_validator(mode="after")
    def _has_model(self) -> "RemoteEntry":
        if self.default_model is None and not self.models:
            raise ValueError("name a model in models, or a default_model")
        return self

    @property
    def model(self) -> str:
        """The model of jobs that name none."""
        return self.default_model or self.models[0].name

    def is_not_charged(self, status: int) -> bool:
        """Whether the operator knows that an answer of this status charges nothing."""
        return any(one in (str(status), f"{status // 100}xx") for one in self.not_charged_on)
