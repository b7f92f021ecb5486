"""The keys file: tenants, the digests of their API keys and their limits; reloaded when its content changes."""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from common import audit, strict_yaml
from common.config import ConfigError
from common.logs import event
from gateway.auth.keyring import ANY_ORIGIN, Keyring, Principal, TenantQuota
from gateway.schemas.requests import refused

_LOG = logging.getLogger(__name__)
_SETTING = "CALOTYPE_API_KEYS_FILE"
TENANT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
RELOAD_SECONDS = 1.0
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _origin(text: str) -> str:
    """Accepts `*`, or an origin exactly as browsers send it, as they compare character by character."""
    if text == ANY_ORIGIN:
        return text
    try:
        parts = urlsplit(text)
        has_default_port = parts.port is not None and parts.port == _DEFAULT_PORTS.get(parts.scheme)
        is_valid = not has_default_port and _ORIGIN.fullmatch(text) is not None
    except ValueError:
        is_valid = False
    if not is_valid:
        raise refused(
            "Write an origin as browsers send it: scheme://host[:port] in lower case, without a default port "
            "(80 for http, 443 for https), such as https://app.example.com."
        )
    return text


_Limit = Annotated[int, Field(ge=0)]
#: At most a thousand million US dollars, in millionths.
_Budget = Annotated[int, Field(ge=0, le=10**15)]
_Allowed = Annotated[str, StringConstraints(pattern=re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}(/[!-~]{1,200})?\Z"))]
_Digest = Annotated[str, StringConstraints(pattern=re.compile(r"^[0-9a-fA-F]{64}\Z"), to_lower=True)]


class _Tenant(BaseModel):
    """An entry of the keys file; the limits are those of `TenantQuota`."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(pattern=re.compile(rf"^{TENANT_NAME.pattern}\Z"))]
    #: `operator` may also use `/v1/admin`.
    role: Literal["tenant", "operator"] = "tenant"
    #: Hex SHA-256 of each of the tenant's keys; may be empty.
    key_sha256: list[_Digest]
    #: When keys end, by digest, with a time zone; a key that is not listed has no end.
    key_expires_at: dict[_Digest, AwareDatetime] = {}
    max_in_flight: _Limit | None = None
    max_queued: _Limit | None = None
    requests_per_minute: _Limit | None = None
    max_high_priority: _Limit | None = None
    #: Each `provider` or `provider/model`; None: all of them.
    allowed_providers: list[_Allowed] | None = Field(default=None, max_length=200)
    #: Millionths of a US dollar.
    budget_micros_per_day: _Budget | None = None
    budget_micros_per_month: _Budget | None = None
    #: Origins whose pages may read responses; `*` allows any.
    cors_origins: list[Annotated[str, AfterValidator(_origin)]] = []

    @model_validator(mode="after")
    def _expiries_are_of_keys(self) -> Self:
        if not self.key_expires_at.keys() <= set(self.key_sha256):
            raise refused("key_expires_at has a digest that is not in key_sha256.")
        return self

    def principals(self) -> list[Principal]:
        """Returns a principal for each key; one without a key if there is none."""
        limits = TenantQuota(
            max_in_flight=self.max_in_flight,
            max_queued=self.max_queued,
            requests_per_minute=self.requests_per_minute,
            max_high_priority=self.max_high_priority,
            allowed_providers=None if self.allowed_providers is None else tuple(self.allowed_providers),
            budget_micros_per_day=self.budget_micros_per_day,
            budget_micros_per_month=self.budget_micros_per_month,
        )
        origins = frozenset(self.cors_origins)
        digests: list[str | None] = [*self.key_sha256]
        return [
            Principal(
                tenant=self.name,
                role=self.role,
                limits=limits,
                cors_origins=origins,
                key_sha256=digest,
                key_expires_at=self.key_expires_at.get(digest or ""),
            )
            for digest in digests or [None]
        ]


class _Content(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    tenants: list[_Tenant]


class KeysFile:
    """A keys file on disk that is reloaded when its content changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: The content that was read last, valid or not; None if it could not be read.
        self._last_content: bytes | None = None

    def load(self) -> Keyring:
        """Returns the keys in the file. Raises `ConfigError` if it cannot be read or is invalid."""
        self._last_content = self._read()
        return self._parse(self._last_content)

    async def reload(self, use: Callable[[Keyring], None]) -> Mapping[str, int]:
        """Calls `use` with the new keys if the content has changed; logs an invalid file once and keeps the old keys.

        Compares the content, not the modification time: Kubernetes replaces links to files of any age.
        """
        content = await asyncio.to_thread(self._read)
        if content == self._last_content:
            return {}
        self._last_content = content
        try:
            keyring = self._parse(content)
        except ConfigError as error:
            event(_LOG, logging.ERROR, "keys.refused", reason=f"{error} The previous keys stay in use.")
            _record("refused")
            return {}
        use(keyring)
        event(_LOG, logging.INFO, "keys.reloaded", keys=len(keyring))
        _record(audit.DONE)
        return {"reloaded": 1}

    def _read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    def _parse(self, content: bytes | None) -> Keyring:
        if content is None:
            raise ConfigError(f"{_SETTING} names {self._path}, but that file cannot be read.")
        try:
            document = strict_yaml.load(content)
        except strict_yaml.DuplicateKey as error:
            raise ConfigError(f"{_SETTING}: {self._path}:{error.position}: {error.problem}.") from error
        # A date that does not exist raises ValueError and deep nesting RecursionError, not YAMLError.
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{_SETTING}: {self._path} is not valid YAML.") from error
        try:
            file = _Content.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            location = ".".join(map(str, first["loc"])) or "the file"
            raise ConfigError(f"{_SETTING}: {self._path}: {location}: {first['msg'].rstrip('.')}.") from None
        principals = [principal for tenant in file.tenants for principal in tenant.principals()]
        if _duplicate(principal.key_sha256 for principal in principals if principal.key_sha256 is not None):
            raise ConfigError(f"{_SETTING}: {self._path}: two entries have the same key.")
        if name := _duplicate(tenant.name for tenant in file.tenants):
            advice = "list all its keys in one key_sha256"
            raise ConfigError(f"{_SETTING}: {self._path}: tenant {name} occurs more than once; {advice}.")
        return Keyring(principals)


def _record(outcome: str) -> None:
    audit.record(audit.RULES, audit.Actor(name=audit.PROCESS), action="readKeys", about=None, outcome=outcome)


def _duplicate(values: Iterable[str]) -> str | None:
    return next((value for value, count in Counter(values).items() if count > 1), None)
