"""Which variables of the caller's environment reach a process that `calotype up` starts; no others do."""

import importlib
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path

from common import config
from common.variables import chosen

#: What any program needs of its system.
SYSTEM = (
    *("HOME", "LANG", "LANGUAGE", "LC_*", "LOGNAME", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "TZDIR", "USER"),
    *("LD_LIBRARY_PATH", "DYLD_*"),
)
PYTHON = ("PYTHON*",)
#: How a service reaches hosts elsewhere: a collector of traces, a vendor.
NETWORK = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GRPC_*"),
    *(f"{kind}_proxy" for kind in ("http", "https", "grpc", "all", "no")),
    *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")),
)
TELEMETRY = ("OTEL_*",)


def of_system(environ: Mapping[str, str]) -> dict[str, str]:
    """What a server that is no program of ours gets."""
    return chosen(environ, SYSTEM)


def of_python(environ: Mapping[str, str]) -> dict[str, str]:
    """What a program of ours gets that reaches nobody."""
    return chosen(environ, SYSTEM + PYTHON)


def of_service(environ: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """What a service gets: the named variables beside those of the system, the network and telemetry."""
    return chosen(environ, (*SYSTEM, *PYTHON, *NETWORK, *TELEMETRY, *names))


def settings_of(module: str) -> frozenset[str]:
    """The variables that a service reads its settings from."""
    names: set[str] = set()
    for one in fields(importlib.import_module(f"{module}.settings").Settings):
        name = config.PREFIX + one.name.upper()
        names |= {name, f"{name}_FILE"} if one.metadata.get("secret") else {name}
    return frozenset(names)


def of_providers(file: Path | None) -> frozenset[str]:
    """The variables that the providers of a file read; none for a file that the generator will refuse."""
    # Client commands start without it.
    from services.generator.adapters.providers import provider_file

    try:
        known = provider_file.read(file, max_timeout_seconds=math.inf)
    except config.ConfigError:
        return frozenset()
    return frozenset().union(*(entry.variables for entry in known.providers))
