"""The keys file: tenants and the digests of their keys."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from common.config import ConfigError
from gateway.auth import Caller, Key

_WHERE = "CALOTYPE_API_KEYS_FILE"
_Limit = Annotated[int, Field(ge=0)]


class _Tenant(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    role: Literal["tenant", "operator"] = "tenant"
    key_sha256: list[Annotated[str, StringConstraints(pattern=re.compile(r"^[0-9a-fA-F]{64}$"))]]
    max_in_flight: _Limit | None = None
    max_queued: _Limit | None = None
    requests_per_minute: _Limit | None = None
    max_high_priority: _Limit | None = None
    cors_origins: list[str] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tenants: list[_Tenant]


def load(path: Path) -> tuple[Key, ...]:
    """Every key of the file. Raises `ConfigError`."""
    try:
        file = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{_WHERE} names {path}, which cannot be read.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{_WHERE}: {path} is not YAML.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{_WHERE}: {path}: {place}: {first['msg']}.") from None
    keys = tuple(
        Key(sha256=digest.lower(), caller=Caller(tenant=tenant.name, role=tenant.role))
        for tenant in file.tenants
        for digest in tenant.key_sha256
    )
    if any(count > 1 for count in Counter(key.sha256 for key in keys).values()):
        raise ConfigError(f"{_WHERE}: {path}: the same key stands twice.")
    return keys
