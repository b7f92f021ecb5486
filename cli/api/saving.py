"""Saves the images of a job: where, under which names, and with the suffix of what they are."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.errors import CommandFailed, ExitCode

#: Suffixes of each content type; the first is used where the caller gave none.
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "image/webp": (".webp",),
}
_IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def check_folder(output: Path) -> None:
    """Raises `CommandFailed` unless a file can be made in the output's folder; called before anything is paid for."""
    folder = output.parent
    if not folder.is_dir():
        raise CommandFailed(f"There is no folder {folder} to save {output.name} in.", ExitCode.USAGE)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandFailed(f"{output.name} cannot be saved: {folder} is not writable.", ExitCode.USAGE)


def save(content: bytes, output: Path, artifact: Mapping[str, Any], *, several: bool) -> None:
    """Writes an image and reports where. Raises `CommandFailed`.

    `artifact` is that of the REST API. The suffix of another image format is replaced by that of the image's own; a
    file that exists under the new name stays, and the image is not saved.
    """
    named = _numbered(output, artifact["index"]) if several else output
    path = named.with_suffix(_suffix(named, artifact["content_type"]))
    is_renamed = bool(named.suffix) and path != named
    try:
        with path.open("xb" if is_renamed else "wb") as file:
            file.write(content)
    except FileExistsError as error:
        message = (
            f"{path} exists, and {named} would not be {artifact['content_type']}; the image is at {artifact['url']}"
        )
        raise CommandFailed(message) from error
    except OSError as error:
        raise CommandFailed(f"Cannot write {path}: {error.strerror}.") from error
    note = f" (not {named.suffix}: the image is {artifact['content_type']})" if is_renamed else ""
    click.echo(f"saved {path}{note}", err=True)


def _numbered(output: Path, index: int) -> Path:
    return output.with_name(f"{output.stem}-{index + 1}{output.suffix}")


def _suffix(path: Path, content_type: str) -> str:
    """The suffix to save with: the path's own, unless it is that of another format."""
    fitting = SUFFIXES.get(content_type, ())
    own = path.suffix
    if not fitting or own.lower() in fitting or (own and own.lower() not in _IMAGE_SUFFIXES):
        return own
    return fitting[0]
