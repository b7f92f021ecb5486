"""Identities of callers from a YAML file, found by the digest of a token or by a name in a certificate."""

import asyncio
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from common import audit
from common.config import ConfigError
from common.errors import DependencyUnavailable

#: The setting that names the file; error messages begin with it.
SETTING = "CALOTYPE_GRPC_IDENTITIES_FILE"
#: Size limit of the file in bytes.
MAX_FILE_BYTES = 4 * 1024 * 1024
_NAME, _DIGEST, _SAN = (
    re.compile(pattern) for pattern in (r"[A-Za-z0-9_-]{1,64}", r"[0-9a-fA-F]{64}", r"(?s).{1,2048}")
)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A caller that the file lists."""

    #: Unique name, for logs and error messages.
    name: str
    #: What it may do; the access policy of each service interprets the roles.
    roles: frozenset[str]
    #: Tenants for which it may act; None: all.
    tenants: frozenset[str] | None


@dataclass(frozen=True, kw_only=True)
class _Entry:
    #: Unique name of the caller.
    name: str
    #: Roles that the service knows, in the file's order.
    roles: list[str]
    #: Tenants for which the caller may act; None: all.
    tenants: frozenset[str] | None
    #: SHA-256 digests of its tokens, 64 lower-case hex characters each.
    token_sha256: list[str]
    #: URI, DNS or common names in its client certificates.
    certificate: list[str]

    @property
    def identity(self) -> Identity:
        return Identity(name=self.name, roles=frozenset(self.roles), tenants=self.tenants)


class _Invalid(Exception):
    """A value of the file is wrong; the message names its place and says what it must be, in one line."""


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
        entries = _entries(yaml.safe_load(content))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{SETTING}: {path} is not YAML.") from error
    except _Invalid as error:
        raise ConfigError(f"{SETTING}: {path}: {error}.") from None
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


def _entries(loaded: object) -> list[_Entry]:
    """Returns the entries of a file. By hand, as pydantic takes 8 MB of a service that uses it for nothing else."""
    file = _mapping(loaded, "", required={"identities"}, optional=set())
    return _list(file["identities"], "identities", _entry)


def _entry(value: object, place: str) -> _Entry:
    found = _mapping(value, place, required={"name", "roles"}, optional={"tenants", "token_sha256", "certificate"})
    tenants = found.get("tenants", [])
    return _Entry(
        name=_name(found["name"], f"{place}.name"),
        roles=_list(found["roles"], f"{place}.roles", _text),
        tenants=None if tenants == "*" else frozenset(_list(tenants, f"{place}.tenants", _name)),
        token_sha256=_list(found.get("token_sha256", []), f"{place}.token_sha256", _digest),
        certificate=_list(found.get("certificate", []), f"{place}.certificate", _san),
    )


def _mapping(value: object, place: str, *, required: set[str], optional: set[str]) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _Invalid(f"{place or 'the file'}: it must be a mapping")
    prefix = f"{place}." if place else ""
    for key in value:
        if key not in required | optional:
            raise _Invalid(f"{prefix}{' '.join(str(key).split())}: there is no such field")
    for key in sorted(required - value.keys()):
        raise _Invalid(f"{prefix}{key}: it is missing")
    return value


def _list(value: object, place: str, item: Callable[[object, str], T]) -> list[T]:
    if not isinstance(value, list):
        raise _Invalid(f"{place}: it must be a list")
    return [item(each, f"{place}.{number}") for number, each in enumerate(value)]


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise _Invalid(f"{place}: it must be text")
    return value


def _name(value: object, place: str) -> str:
    if not _NAME.fullmatch(text := _text(value, place)):
        raise _Invalid(f"{place}: it must have 1 to 64 letters, digits, _ or -")
    return text


def _digest(value: object, place: str) -> str:
    if not _DIGEST.fullmatch(text := _text(value, place)):
        raise _Invalid(f"{place}: it must have 64 hexadecimal digits")
    return text.lower()


def _san(value: object, place: str) -> str:
    if not _SAN.fullmatch(text := _text(value, place)):
        raise _Invalid(f"{place}: it must have 1 to 2,048 characters")
    return text
