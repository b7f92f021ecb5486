"""Which variables of the caller's environment a process of `calotype up` gets; it gets no others."""

import importlib
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path

from common import config
from common.variables import chosen

#: Variables that any program needs.
SYSTEM = (
    *("HOME", "LANG", "LANGUAGE", "LC_*", "LOGNAME", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "TZDIR", "USER"),
    *("LD_LIBRARY_PATH", "DYLD_*"),
)
PYTHON = ("PYTHON*",)
#: Variables by which a service reaches other hosts: a collector of traces, a provider.
NETWORK = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GRPC_*"),
    *(f"{kind}_proxy" for kind in ("http", "https", "grpc", "all", "no")),
    *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")),
)
TELEMETRY = ("OTEL_*",)


def of_system(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for a server of another project: PostgreSQL, NATS."""
    return chosen(environ, SYSTEM)


def of_python(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for a program of this project that connects to no other host."""
    return chosen(environ, SYSTEM + PYTHON)


def of_service(environ: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Variables for a service: the named ones, and those of system, Python, network and telemetry."""
    return chosen(environ, (*SYSTEM, *PYTHON, *NETWORK, *TELEMETRY, *names))


def settings_of(module: str) -> frozenset[str]:
    """Names of the variables that hold a service's settings; `module` is the service's."""
    names: set[str] = set()
    for setting in fields(importlib.import_module(f"{module}.settings").Settings):
        name = config.PREFIX + setting.name.upper()
        names |= {name, f"{name}_FILE"} if setting.metadata.get("secret") else {name}
    return frozenset(names)


def of_providers(file: Path | None) -> frozenset[str]:
    """Names of the variables that the providers of a file read; empty for a file that the generator will refuse."""
    # Here, not above: client commands need none of the generator's libraries.
    from services.generator.adapters.providers import provider_file

    try:
        known = provider_file.read(file, max_timeout_seconds=math.inf)
    except config.ConfigError:
        return frozenset()
    return frozenset().union(*(entry.variables for entry in known.providers))
