"""Keys and methods that every entry of the provider file has, whatever its kind."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from calotype.error_reasons import Code, Reason
from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from common.config import ConfigError
from services.generator.adapters.providers import option_rules
from services.generator.adapters.providers.entry_fields import (
    Alias,
    Defaults,
    ModelEntry,
    PrivateName,
    StatusPattern,
    Strict,
)
from services.generator.adapters.providers.option_rules import OptionRule, Rules
from services.generator.adapters.providers.schema_messages import problems
from services.generator.domain.jobs import Request
from services.generator.domain.provider_results import Acceptance, ProviderError

#: The path of all options: `allowed_options: any` is stored as a rule for it.
ANY = "*"


#: Names of variables as they are usually written. Few keys look like this: they have small letters, or no `_`.
_USUAL_NAME = re.compile(r"api_key_env|(?![A-Z0-9]{20})[A-Z_][A-Z0-9_]{0,63}")


def _looks_like_variable(name: str) -> bool:
    return _USUAL_NAME.fullmatch(name) is not None


def _rules_of(value: Any) -> Any:
    return {ANY: OptionRule(type="any")} if value == "any" else value


class Entry(Strict):
    """An entry of the provider file, of any kind."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """Name of the provider in jobs: 1 to 63 small letters, digits, `-` and `_`, unique in the file."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^/?#]+[^?#]*$")
    """Address of the API, without a query; the key is sent there and nowhere else. Left out, the kind's own address."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the provider's key; never the key itself."""
    api_key_file: Path | None = None
    """Path of a file that holds the provider's key; it takes precedence over `api_key_env`."""
    default_model: str | None = None
    """Model of jobs that name none; left out, the first of `models`."""
    models: tuple[ModelEntry, ...] = ()
    """Models that a job may name; `default_model` need not be repeated here."""
    aliases: Mapping[Alias, str] = Field(default_factory=dict, max_length=64)
    """Other names for models in OpenAI's calls, 64 at most, with the model of each: `dall-e-3: gpt-image-1`. An alias
    has 1 to 100 letters, digits, `-`, `.`, `_` and `:`, is unique in the file and no provider's name."""
    settings: Strict
    """Settings of the kind: see its table."""
    max_concurrency: int = Field(default=0, ge=0)
    """Most calls at a time over all generators; 0 is no limit."""
    requests_per_minute: int = Field(default=0, ge=0)
    """Most calls that begin in a minute, over all generators; 0 is no limit."""
    timeout_seconds: float = Field(default=300, ge=1)
    """Longest time of one call in seconds, 1 or more; CALOTYPE_MAX_GENERATING_SECONDS bounds it."""
    poll_interval_seconds: float = Field(default=1, gt=0)
    """Pause between two polls of an operation, in seconds."""
    allow_private_addresses: bool | tuple[PrivateName, ...] = False
    """Which private addresses results may be fetched from: none, all (`true`), or a list of host names and private
    networks. Link-local and metadata addresses stay forbidden."""
    defaults: Defaults = Defaults()
    """Values for fields that a job leaves out."""
    allowed_options: Annotated[Mapping[str, OptionRule | None], BeforeValidator(_rules_of)] = Field(
        default_factory=dict
    )
    """Rules for options that jobs may set in addition to the kind's own, by path; `null` forbids one of the kind's.
    `any` allows everything: only for an operator who writes all jobs."""
    fixed_options: Mapping[str, Any] = Field(default_factory=dict)
    """Options of every call; they replace a job's values, and no job may set them."""
    strip_metadata: bool = False
    """Whether metadata (texts, EXIF, XMP, comments) is removed from results; colour profiles, the orientation and
    provenance (C2PA) stay. On by default for kinds whose servers write the workflow into images."""
    #: Rules of the options that the kind lets jobs set.
    harmless_options: ClassVar[Rules] = {}
    #: Settings of the models that have their own, by name.
    _of_models: dict[str, Strict] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _settings_of_models_fit(self) -> Self:
        for number, model in enumerate(self.models):
            if model.settings:
                self._of_models[model.name] = self._overlaid(model.settings, location=("models", number, "settings"))
        return self

    def settings_of(self, model: str) -> Any:
        """Returns the settings for a model: the entry's, replaced key by key with the model's own."""
        return self._of_models.get(model, self.settings)

    def narrowed_to(self, model: ModelEntry) -> Self:
        """Returns the entry with this model alone and its settings."""
        values = {"models": (model,), "default_model": model.name, "settings": self.settings_of(model.name)}
        return self.model_copy(update=values)

    def _overlaid(self, own: Mapping[str, Any], *, location: tuple[str | int, ...]) -> Strict:
        settings = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        try:
            return type(self.settings).model_validate({**settings, **own})
        except ValidationError as error:
            problem = problems(error.errors(include_input=False, include_url=False), type(self.settings))[0]
            context = {"message": problem.message, "location": (*location, *problem.location)}
            raise PydanticCustomError("model_settings", "{message}", context) from error

    def option_rules(self) -> Rules | None:
        """Returns the rules of the options that jobs may set, by path; None if they may set any."""
        every = self.allowed_options.get(ANY)
        if every is not None and every.type == "any":
            return None
        fixed = {path for path, _ in option_rules.paths(self.fixed_options, {})}
        rules = {**self._known_options(), **self.allowed_options}
        return {path: rule for path, rule in rules.items() if rule is not None and path not in fixed}

    def request_for(self, model: str, request: Request) -> Request:
        """Returns the request to send, with defaults and fixed options.

        Raises `ProviderError` for a model that the file does not name, and for an option that jobs may not set.
        """
        if not self.has_model(model):
            raise ProviderError(
                code=Code.PERMANENT,
                reason=Reason.INVALID_INPUT,
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
        """Names of the environment variables that the provider reads; `*` stands for any characters."""
        return frozenset(filter(None, [self.api_key_env]))

    @property
    def credential_variables(self) -> frozenset[str]:
        """Those of `variables` that may hold credentials."""
        return self.variables

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the models that jobs may name, the default model first."""
        default = (self.default_model,) if self.default_model else ()
        return tuple(dict.fromkeys((*default, *(model.name for model in self.models))))

    def has_model(self, name: str) -> bool:
        """Returns whether a job may name the model."""
        return name in self.model_names

    def _known_options(self) -> Rules:
        return self.harmless_options

    def price_of(self, model: str) -> int | None:
        """Returns the highest price of one image, in millionths of a US dollar; None if the file has none."""
        entry = self.model_of(model)
        return None if entry is None else entry.highest_price_micros

    def model_of(self, name: str) -> ModelEntry | None:
        """Returns the file's entry of a model; None for one that only `default_model` names."""
        return next((model for model in self.models if model.name == name), None)

    def api_key(self, environ: Mapping[str, str]) -> str:
        """Returns the provider's credential. Raises `ConfigError`, which names the source and never the key."""
        if self.api_key_file is not None:
            source = f"api_key_file {self.api_key_file}"
            try:
                key = self.api_key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"provider {self.name}: cannot read {source}.") from error
        else:
            source = self.api_key_env or "api_key_env"
            key = environ.get(self.api_key_env or "", "").strip()
            if not key and not _looks_like_variable(source):
                raise ConfigError(
                    f"provider {self.name}: the value of api_key_env does not look like a variable name, and is not "
                    "shown because it may be a key; write the name of the variable that holds the provider's key."
                )
        if not key:
            raise ConfigError(f"provider {self.name}: {source} is not set; it must hold the provider's key.")
        if not key.isascii() or not key.isprintable():
            raise ConfigError(f"provider {self.name}: {source} must hold only printable ASCII characters.")
        return key


class RemoteEntry(Entry):
    """An entry of a kind that calls an API over HTTP."""

    kind: str
    """The adapter that knows the provider's API: one of the sections below."""
    not_charged_on: tuple[StatusPattern, ...] = Field(default=(), max_length=20)
    """Statuses of error responses that the provider does not charge, as the operator knows from the bill: `503`, `5xx`.
    A call that ends with one may be repeated."""
    #: Whether the adapter can tell apart images of different prices (`prices`, `token_prices`).
    knows_prices: ClassVar[bool] = False

    @model_validator(mode="after")
    def _prices_are_known(self) -> "RemoteEntry":
        if not self.knows_prices and any(model.prices or model.token_prices for model in self.models):
            raise ValueError(f"the kind {self.kind} has one price per model: write price_micros_per_image")
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
        """Returns whether `not_charged_on` lists this HTTP status."""
        return any(pattern in (str(status), f"{status // 100}xx") for pattern in self.not_charged_on)
