"""Chooses the format of images by the suffix of the file that they are saved to, before anything is paid for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cli.api.saving import SUFFIXES
from cli.errors import CommandFailed, ExitCode

#: Format, as jobs name it, of each suffix.
FORMAT_OF = {suffix: kind.removeprefix("image/") for kind, suffixes in SUFFIXES.items() for suffix in suffixes}


def output_format(output: Path, body: Mapping[str, Any], catalogue: Callable[[], Mapping[str, Any]]) -> str | None:
    """Returns the format to request for a file; None leaves it to a provider that has no choice of formats.

    It is also None if a fallback makes other formats only, since the service would not use that one.

    `body` is the job to submit, and `catalogue` returns the response of `GET /v1/providers`. Raises `CommandFailed`
    where the file's suffix is that of another format than the job's, or of one that the provider does not make.
    """
    wanted, requested = FORMAT_OF.get(output.suffix.lower()), body.get("output_format")
    if wanted is None or requested == wanted:
        return requested
    if requested is not None:
        message = f"{output.name} is no file for {requested}: change -o or --output-format."
        raise CommandFailed(message, ExitCode.USAGE)
    listed = catalogue()
    formats = _formats(listed, body.get("provider"), body.get("model"))
    if not formats:
        return None
    if wanted not in formats:
        suffixes = ", ".join(suffix for suffix, kind in FORMAT_OF.items() if kind in formats)
        message = f"{output.name} cannot be saved: the provider makes no {wanted}. Use one of: {suffixes}"
        raise CommandFailed(message, ExitCode.USAGE)
    return wanted if all(wanted in _formats(listed, name, None) for name in body.get("fallback", ())) else None


def _formats(catalogue: Mapping[str, Any], name: str | None, model: str | None) -> list[str]:
    """Formats that a provider and model (None: the default) can be asked for; empty for none, and if it is unknown."""
    for provider in catalogue["providers"]:
        if provider["name"] == name or (name is None and provider["is_default"]):
            own = {found["name"]: found["capabilities"] for found in provider["models"]}.get(
                model or provider["default_model"]
            )
            formats: list[str] = (own or provider["capabilities"])["output_formats"]
            return formats
    return []
