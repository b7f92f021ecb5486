"""The page of all settings, `docs/settings.md`.

`python -m tests.support.pages.settings_page` writes its tables anew from the settings classes and their `#:` comments.
"""

import dataclasses
import inspect
import re
import typing
from pathlib import Path
from typing import Any, Literal

from calotype.environment import SETTINGS

from common.admin_port import AdminSettings
from common.broker_settings import BrokerSettings
from common.config import PREFIX
from common.grpc_access import ServerSettings
from common.grpc_client import ClientSettings
from common.grpc_tls import TlsSettings
from gateway.settings import Settings as GatewaySettings
from services.generator.settings import Settings as GeneratorSettings
from services.job.settings import Settings as JobSettings
from services.notifier.settings import Settings as NotifierSettings
from services.uploader.settings import Settings as UploaderSettings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
SERVICES: dict[str, Any] = {
    "gateway": GatewaySettings,
    "job-service": JobSettings,
    "generator": GeneratorSettings,
    "uploader": UploaderSettings,
    "notifier": NotifierSettings,
}
SHARED: dict[str, Any] = {
    "TLS of gRPC": TlsSettings,
    "gRPC server": ServerSettings,
    "gRPC client": ClientSettings,
    "Message broker": BrokerSettings,
    "Admin port": AdminSettings,
}
#: Settings of the `calotype` command, which has options for them: the page describes them by hand.
OF_THE_COMMAND = frozenset({"API_KEY", "OPERATOR_KEY", "URL"})
_TABLES = re.compile(r"(<!-- settings: [^\n]*-->\n).*(<!-- end of settings -->)", re.DOTALL)
_COMMENTED = re.compile(r"((?:^    #: .*\n)+)    (\w+): ", re.MULTILINE)
_UNITS = {"_seconds": "seconds", "_days": "days"}
_NAMES = {str: "text", Path: "path", int: "whole number", float: "number", bool: "`true`, `false`"}


def descriptions(settings: Any) -> dict[str, str]:
    """The comment above each field that the class itself defines; fields without a comment are left out."""
    comments = _COMMENTED.findall(inspect.getsource(settings))
    return {name: " ".join(line.strip().removeprefix("#: ") for line in lines.splitlines()) for lines, name in comments}


def own_fields(settings: Any) -> "list[dataclasses.Field[Any]]":
    """The fields that the class itself defines, without inherited ones."""
    return [field for field in dataclasses.fields(settings) if field.name in settings.__annotations__]


def unread() -> list[str]:
    """Known names that no process and no command reads."""
    read = {field.name.upper() for settings in SERVICES.values() for field in dataclasses.fields(settings)}
    return sorted(SETTINGS - read - OF_THE_COMMAND)


def tables() -> str:
    """A section with a table for each service, then for each group of shared settings."""
    parts = [_section(name, settings, level="##") for name, settings in SERVICES.items()]
    parts.append("## Shared settings\n")
    parts += [_section(name, settings, level="###", readers=_readers(settings)) for name, settings in SHARED.items()]
    return "\n".join(parts)


def with_tables(page: str) -> str:
    """The page with fresh tables."""
    return _TABLES.sub(lambda match: f"{match[1]}\n{tables()}\n{match[2]}", page)


def _section(name: str, settings: Any, *, level: str, readers: str = "") -> str:
    known, hints = descriptions(settings), typing.get_type_hints(settings)
    rows = [_row(field, hints[field.name], known[field.name]) for field in own_fields(settings)]
    head = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([f"{level} {name}\n", *([f"Read by {readers}.\n"] if readers else []), *head, *rows, ""])


def _readers(shared: Any) -> str:
    return ", ".join(name for name, settings in SERVICES.items() if issubclass(settings, shared))


def _row(field: "dataclasses.Field[Any]", hint: Any, meaning: str) -> str:
    name = f"`{PREFIX}{field.name.upper()}`"
    if field.metadata.get("secret"):
        meaning += f" Better {name[:-1]}_FILE`, the path of a file that holds it."
    return f"| {name} | {_type(field, hint)} | {_default(field)} | {meaning} |"


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING:
        return "**required**"
    if field.default is None or field.default == ():
        return "unset"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _type(field: "dataclasses.Field[Any]", hint: Any) -> str:
    if field.name.endswith(("_listen", "_address")):
        return "HOST:PORT"
    if typing.get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "list, separated by commas"
    [kind] = [option for option in typing.get_args(hint) or (hint,) if option is not type(None)]
    unit = next((unit for suffix, unit in _UNITS.items() if field.name.endswith(suffix)), None)
    return f"{unit or _NAMES[kind]}{_bounds(field)}"


def _bounds(field: "dataclasses.Field[Any]") -> str:
    low, high = field.metadata.get("min"), field.metadata.get("max")
    if low is None:
        return ""
    return f", {low} or more" if high is None else f", {low} to {high}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
