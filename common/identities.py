"""Identities of callers from a YAML file, found by the digest of a token or by a name in a certificate."""

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

from common import audit, strict_yaml
from common.config import ConfigError
from common.errors import DependencyUnavailable

#: The setting that names the file; error messages begin with it.
SETTING = "CALOTYPE_GRPC_IDENTITIES_FILE"
#: Size limit of the file in bytes.
MAX_FILE_BYTES = 4 * 1024 * 1024
_Name = Annotated[str, StringConstraints(pattern=re.compile(r"^[A-Za-z0-9_-]{1,64}$"))]
_Digest = Annotated[str, StringConstraints(pattern=re.compile(r"^[0-9a-fA-F]{64}$"), to_lower=True)]
_San = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A caller that the file lists."""

    #: Unique name, for logs and error messages.
    name: str
    #: What it may do; the access policy of each service interprets the roles.
    roles: frozenset[str]
    #: Tenants for which it may act; None: all.
    tenants: frozenset[str] | None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    #: Unique name of the caller.
    name: _Name
    #: Roles that the service knows.
    roles: list[str]
    #: Tenants for which the caller may act; `*`: all.
    tenants: Literal["*"] | list[_Name] = []
    #: SHA-256 digests of its tokens, 64 hex characters each.
    token_sha256: list[_Digest] = []
    #: URI, DNS or common names in its client certificates.
    certificate: list[_San] = []

    @property
    def identity(self) -> Identity:
        tenants = None if self.tenants == "*" else frozenset(self.tenants)
        return Identity(name=self.name, roles=frozenset(self.roles), tenants=tenants)


class _IdentitiesFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    identities: list[_Entry]


class Identities:
    """The identities of a file; `run_once` reloads it when it has changed. Raises `ConfigError` for an invalid file."""

    def __init__(self, path: Path, *, roles: Collection[str]) -> None:
        self._path = path
        self._roles = roles
        self._content = _content(path)
        self._use(self._content)

    async def run_once(self) -> Mapping[str, int]:
        """Reloads the file if it has changed; returns counts.

        Raises `DependencyUnavailable` for an invalid file, and keeps the identities from before.
        """
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
        """Returns the identity of a token; None for an unknown token."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        # Every digest is compared, so that the duration does not reveal which digest is similar.
        matches = [identity for known, identity in self._tokens if hmac.compare_digest(known, digest)]
        return matches[0] if matches else None

    def of_certificate(self, names: Collection[str]) -> Identity | None:
        """Returns the identity of the first known name of a certificate; None when all are unknown."""
        return next((self._certificates[name] for name in names if name in self._certificates), None)

    def _use(self, content: bytes) -> None:
        entries = _parse(self._path, content, self._roles)
        self._tokens = [(digest, entry.identity) for entry in entries for digest in entry.token_sha256]
        self._certificates = {name: entry.identity for entry in entries for name in entry.certificate}


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{SETTING} names {path}, which cannot be read.") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{SETTING}: {path} is over {MAX_FILE_BYTES // 1024**2} MiB.")
    return content


def _parse(path: Path, content: bytes, roles: Collection[str]) -> list[_Entry]:
    try:
        entries = _IdentitiesFile.model_validate(strict_yaml.load(content)).identities
    except strict_yaml.DuplicateKey as error:
        raise ConfigError(f"{SETTING}: {path}:{error.position}: {error.problem}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{SETTING}: {path} is not YAML.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        location = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{SETTING}: {path}: {location}: {first['msg']}.") from None
    for entry in entries:
        for role in entry.roles:
            if role not in roles:
                raise ConfigError(
                    f"{SETTING}: {path}: {entry.name}: {role!r} is not a role; the roles are {', '.join(roles)}."
                )
    _refuse_duplicates(path, "name", [entry.name for entry in entries])
    _refuse_duplicates(path, "token", [digest for entry in entries for digest in entry.token_sha256])
    _refuse_duplicates(path, "certificate", [name for entry in entries for name in entry.certificate])
    return entries


def _refuse_duplicates(path: Path, what: str, values: Collection[object]) -> None:
    if any(count > 1 for count in Counter(values).values()):
        raise ConfigError(f"{SETTING}: {path}: two entries have the same {what}.")
