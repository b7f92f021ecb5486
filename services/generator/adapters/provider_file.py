"""The provider file: YAML, checked with line and field, secrets read from where it says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.config import ConfigError

Kind = Literal["procedural", "replicate"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Strict):
    """One model of a provider; the price in millionths of a US dollar."""

    name: str = Field(min_length=1, max_length=200)
    price_micros_per_image: int | None = Field(default=None, ge=0)


class ProviderEntry(_Strict):
    """One provider, as the file describes it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    kind: Kind
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    api_key_env: str | None = None
    api_key_file: Path | None = None
    default_model: str | None = None
    models: tuple[ModelEntry, ...] = ()
    max_concurrency: int = Field(default=0, ge=0)
    requests_per_minute: int = Field(default=0, ge=0)
    timeout_seconds: float = Field(default=300, gt=0)
    poll_interval_seconds: float = Field(default=1, gt=0)
    allow_private_addresses: bool = False
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    settings: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def model(self) -> str:
        """The model of jobs that name none."""
        return self.default_model or (self.models[0].name if self.models else self.kind)

    def price_of(self, model: str) -> int | None:
        """Price of one image, None when the file does not tell it."""
        return next((one.price_micros_per_image for one in self.models if one.name == model), None)

    def api_key(self, environ: Mapping[str, str]) -> str:
        """The provider's credential. Raises `ConfigError` that names where it was looked for."""
        if self.api_key_file is not None:
            try:
                return self.api_key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"provider {self.name}: cannot read api_key_file {self.api_key_file}.") from error
        key = environ.get(self.api_key_env or "")
        if not key:
            named = self.api_key_env or "api_key_env"
            raise ConfigError(f"provider {self.name}: {named} is not set; it must hold the provider's key.")
        return key


class ProviderFile(_Strict):
    """The whole file."""

    default: str | None = None
    providers: tuple[ProviderEntry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> "ProviderFile":
        names = [one.name for one in self.providers]
        if len(set(names)) != len(names):
            raise ValueError("two providers have the same name")
        if self.default is not None and self.default not in names:
            raise ValueError(f"default names {self.default!r}, which is not among the providers")
        return self

    @property
    def default_name(self) -> str:
        """The provider of jobs that name none."""
        return self.default or self.providers[0].name


#: Without a file: the provider that needs no key.
BUILT_IN = ProviderFile(providers=(ProviderEntry(name="procedural", kind="procedural", timeout_seconds=60),))


def read(path: Path | None, *, max_timeout_seconds: float) -> ProviderFile:
    """The file's providers, or the built-in one. Raises `ConfigError`: one line with file, line and field."""
    if path is None:
        return BUILT_IN
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        found = ProviderFile.model_validate(yaml.safe_load(text))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{path}{f':{mark.line + 1}' if mark else ''}: is not YAML.") from error
    except ValidationError as error:
        raise ConfigError(_first_problem(path, root, error)) from error
    return found.model_copy(
        update={"providers": tuple(_within(path, entry, max_timeout_seconds) for entry in found.providers)}
    )


def _within(path: Path, entry: ProviderEntry, max_timeout_seconds: float) -> ProviderEntry:
    if "timeout_seconds" not in entry.model_fields_set:
        return entry.model_copy(update={"timeout_seconds": min(entry.timeout_seconds, max_timeout_seconds)})
    if entry.timeout_seconds > max_timeout_seconds:
        raise ConfigError(
            f"{path}: provider {entry.name}: timeout_seconds is over MAX_GENERATING_SECONDS ({max_timeout_seconds:g})."
        )
    return entry


def _first_problem(path: Path, root: Any, error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"]) or "the file"
    return f"{path}:{_line(root, problem['loc'])}: {field}: {problem['msg']}."


def _line(node: Any, location: tuple[int | str, ...]) -> int:
    """The line of the deepest part of the location that is written in the file."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return int(line)
