"""The keys file: tenants and the digests of their keys, read again whenever it changes."""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from common import audit
from common.config import ConfigError
from common.logs import event
from gateway.auth.keyring import ANY_ORIGIN, Keyring, Principal, TenantQuota
from gateway.schemas.requests import refused

_LOG = logging.getLogger(__name__)
_WHERE = "CALOTYPE_API_KEYS_FILE"
TENANT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
RELOAD_SECONDS = 1.0
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _origin(written: str) -> str:
    """An origin as browsers send it: they compare letter by letter."""
    if written == ANY_ORIGIN:
        return written
    try:
        parts = urlsplit(written)
        usual = parts.port is not None and parts.port == _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        usual = True
    if usual or not _ORIGIN.fullmatch(written):
        raise refused("Write an origin as browsers do: scheme://host[:port] in small letters without the usual port.")
    return written


_Limit = Annotated[int, Field(ge=0)]
#: A thousand million dollars.
_Budget = Annotated[int, Field(ge=0, le=10**15)]
_Allowed = Annotated[str, StringConstraints(pattern=re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}(/[!-~]{1,200})?\Z"))]
_Digest = Annotated[str, StringConstraints(pattern=re.compile(r"^[0-9a-fA-F]{64}\Z"), to_lower=True)]


class _Tenant(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(pattern=re.compile(rf"^{TENANT_NAME.pattern}\Z"))]
    role: Literal["tenant", "operator"] = "tenant"
    key_sha256: list[_Digest]
    max_in_flight: _Limit | None = None
    max_queued: _Limit | None = None
    requests_per_minute: _Limit | None = None
    max_high_priority: _Limit | None = None
    allowed_providers: list[_Allowed] | None = Field(default=None, max_length=200)
    budget_micros_per_day: _Budget | None = None
    budget_micros_per_month: _Budget | None = None
    cors_origins: list[Annotated[str, AfterValidator(_origin)]] = []

    def principals(self) -> list[Principal]:
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
            Principal(tenant=self.name, role=self.role, limits=limits, cors_origins=origins, key_sha256=digest)
            for digest in digests or [None]
        ]


class _KeysFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tenants: list[_Tenant]


class KeysFile:
    """A keys file on disk, and what it held when it was last right."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: bytes | None = None

    def load(self) -> Keyring:
        """The keys as they are now. Raises `ConfigError`."""
        self._seen = self._read()
        return self._parse(self._seen)

    async def reload(self, use: Callable[[Keyring], None]) -> Mapping[str, int]:
        """Hand over the keys if the content has changed; a wrong file is told once, and what was in use stays.

        Content is compared, not times: Kubernetes swaps links to files of any age.
        """
        content = await asyncio.to_thread(self._read)
        if content == self._seen:
            return {}
        self._seen = content
        try:
            keyring = self._parse(content)
        except ConfigError as error:
            event(_LOG, logging.ERROR, "keys.refused", because=f"{error} The keys from before stay in use.")
            _tell_audit("refused")
            return {}
        use(keyring)
        event(_LOG, logging.INFO, "keys.reloaded", keys=len(keyring))
        _tell_audit(audit.DONE)
        return {"reloaded": 1}

    def _read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    def _parse(self, content: bytes | None) -> Keyring:
        if content is None:
            raise ConfigError(f"{_WHERE} names {self._path}, which cannot be read.")
        try:
            written = yaml.safe_load(content)
        # Not all that is wrong in YAML is told by a YAMLError: a date that there is none is not, nor deep nesting.
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{_WHERE}: {self._path} is not YAML.") from error
        try:
            file = _KeysFile.model_validate(written)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ConfigError(f"{_WHERE}: {self._path}: {place}: {first['msg'].rstrip('.')}.") from None
        principals = [principal for tenant in file.tenants for principal in tenant.principals()]
        if _repeated(one.key_sha256 for one in principals if one.key_sha256 is not None):
            raise ConfigError(f"{_WHERE}: {self._path}: the same key stands twice.")
        if name := _repeated(one.name for one in file.tenants):
            advice = "write all its keys into one key_sha256"
            raise ConfigError(f"{_WHERE}: {self._path}: tenant {name} stands twice; {advice}.")
        return Keyring(principals)


def _tell_audit(outcome: str) -> None:
    audit.record(audit.RULES, audit.Actor(name=audit.PROCESS), action="readKeys", about=None, outcome=outcome)


def _repeated(values: Iterable[str]) -> str | None:
    return next((value for value, count in Counter(values).items() if count > 1), None)
