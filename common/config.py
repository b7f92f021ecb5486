"""Settings: a frozen dataclass per process, read once from the environment; every error is one line."""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PREFIX = "CALOTYPE_"
#: Names that Kubernetes injects for every Service of the namespace.
_INJECTED = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$")
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


class ConfigError(Exception):
    """A setting is missing, unknown or invalid; the message is one line that names the setting."""


def load(settings: type[T], *, environ: Mapping[str, str], known: Collection[str]) -> T:
    """Reads the fields of a dataclass from the variables `CALOTYPE_<FIELD>`.

    Field metadata: `secret` allows `..._FILE` with a path to the value; `min` and `max` bound a number. `known` holds
    the settings of all processes, without prefix: any other `CALOTYPE_` variable is an error. Raises `ConfigError`.
    """
    _refuse_unknown(environ, known)
    hints = typing.get_type_hints(settings)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        raw = _raw(field, environ)
        if raw is not None:
            values[field.name] = _read(field, hints[field.name], raw)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{PREFIX}{field.name.upper()} is not set.")
    return settings(**values)


def _refuse_unknown(environ: Mapping[str, str], known: Collection[str]) -> None:
    for name in sorted(environ):
        if not name.startswith(PREFIX) or _INJECTED.fullmatch(name):
            continue
        bare = name.removeprefix(PREFIX)
        if bare not in known and bare.removesuffix("_FILE") not in known:
            similar = difflib.get_close_matches(bare, known, n=1)
            suggestion = f" Did you mean {PREFIX}{similar[0]}?" if similar else ""
            raise ConfigError(f"{name} is not a setting.{suggestion}")


def _raw(field: "dataclasses.Field[Any]", environ: Mapping[str, str]) -> str | None:
    name = PREFIX + field.name.upper()
    if field.metadata.get("secret") and (path := environ.get(f"{name}_FILE")):
        try:
            secret = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{name}_FILE names {path}, which cannot be read.") from error
        if not secret:
            raise ConfigError(f"{name}_FILE names {path}, which is empty.")
        return secret
    value = environ.get(name)
    return value if value else None


def _read(field: "dataclasses.Field[Any]", kind: Any, raw: str) -> Any:
    name = PREFIX + field.name.upper()
    value_text = "the given value" if field.metadata.get("secret") else repr(raw[:80])
    options = [option for option in typing.get_args(kind) if option is not type(None)] if _is_union(kind) else [kind]
    try:
        value = _convert(options[0], raw)
    except ValueError as error:
        raise ConfigError(f"{name}: {value_text} is not {error}.") from None
    low, high = field.metadata.get("min"), field.metadata.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        raise ConfigError(f"{name}: {value_text} is out of bounds; it must be {bounds}.")
    return value


def _is_union(kind: Any) -> bool:
    return isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union


def _convert(kind: Any, raw: str) -> Any:
    if kind is bool:
        if raw.lower() not in _TRUE | _FALSE:
            raise ValueError("true or false")
        return raw.lower() in _TRUE
    if kind in (int, float):
        try:
            number = kind(raw)
        except ValueError:
            raise ValueError("a whole number" if kind is int else "a number") from None
        if not math.isfinite(number):
            raise ValueError("a number")
        return number
    if typing.get_origin(kind) is typing.Literal:
        if raw not in typing.get_args(kind):
            raise ValueError(f"one of {', '.join(typing.get_args(kind))}")
        return raw
    if typing.get_origin(kind) is tuple:
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    return kind(raw)
