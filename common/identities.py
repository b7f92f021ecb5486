"""Identities: who may call, from a YAML file; known by digests of their tokens or by names in their certificates."""

import asyncio
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from common import audit
from common.config import ConfigError
from common.errors import DependencyUnavailable

WHERE = "CALOTYPE_GRPC_IDENTITIES_FILE"
LARGEST_FILE = 4 * 1024 * 1024
_Name = Annotated[str, StringConstraints(pattern=re.compile(r"^[A-Za-z0-9_-]{1,64}$"))]
_Digest = Annotated[str, StringConstraints(pattern=re.compile(r"^[0-9a-fA-F]{64}$"), to_lower=True)]
_San = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody who may call; `tenants` None is every tenant."""

    name: str
    roles: frozenset[str]
    tenants: frozenset[str] | None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: _Name
    roles: list[str]
    tenants: Literal["*"] | list[_Name] = []
    token_sha256: list[_Digest] = []
    certificate: list[_San] = []

    @property
    def identity(self) -> Identity:
        tenants = None if self.tenants == "*" else frozenset(self.tenants)
        return Identity(name=self.name, roles=frozenset(self.roles), tenants=tenants)


class _IdentitiesFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    identities: list[_Entry]


class Identities:
    """The identities of a file, read anew when it changes. Raises `ConfigError` for one that cannot be used."""

    def __init__(self, path: Path, *, roles: Collection[str]) -> None:
        self._path = path
        self._roles = roles
        self._content = _content(path)
        self._use(self._content)

    async def run_once(self) -> Mapping[str, int]:
        """Take over what changed; a file that cannot be used leaves all as it was. Raises `DependencyUnavailable`."""
        try:
            content = await asyncio.to_thread(_content, self._path)
            if content == self._content:
                return {}
            self._use(content)
        except ConfigError as error:
            raise DependencyUnavailable(f"{error} The identities stay as they were.") from error
        self._content = content
        audit.record(
            audit.RULES, audit.Actor(name=audit.PROCESS), action="readIdentities", about=None, outcome=audit.DONE
        )
        return {"identities_read": 1}

    def of_token(self, token: str) -> Identity | None:
        """Whose token it is."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        # Every digest is compared, so that the time tells nothing about which one was near.
        found = [identity for known, identity in self._tokens if hmac.compare_digest(known, digest)]
        return found[0] if found else None

    def of_certificate(self, names: Collection[str]) -> Identity | None:
        """Whose certificate has one of these names."""
        return next((self._certificates[name] for name in names if name in self._certificates), None)

    def _use(self, content: bytes) -> None:
        entries = _parse(self._path, content, self._roles)
        self._tokens = [(digest, one.identity) for one in entries for digest in one.token_sha256]
        self._certificates = {name: one.identity for one in entries for name in one.certificate}


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{WHERE} names {path}, which cannot be read.") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{WHERE}: {path} is over {LARGEST_FILE // 1024**2} MiB.")
    return content


def _parse(path: Path, content: bytes, roles: Collection[str]) -> list[_Entry]:
    try:
        entries = _IdentitiesFile.model_validate(yaml.safe_load(content)).identities
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{WHERE}: {path} is not YAML.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{WHERE}: {path}: {place}: {first['msg']}.") from None
    for one in entries:
        for role in one.roles:
            if role not in roles:
                raise ConfigError(f"{WHERE}: {path}: {one.name}: there is no role {role!r}, but {', '.join(roles)}.")
    _refuse_twice(path, "name", [one.name for one in entries])
    _refuse_twice(path, "token", [digest for one in entries for digest in one.token_sha256])
    _refuse_twice(path, "certificate", [name for one in entries for name in one.certificate])
    return entries


def _refuse_twice(path: Path, what: str, values: Collection[object]) -> None:
    if any(count > 1 for count in Counter(values).values()):
        raise ConfigError(f"{WHERE}: {path}: the same {what} stands twice.")
