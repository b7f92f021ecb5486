"""Reads the `CALOTYPE_...` variables of a command's environment."""

import os
from dataclasses import dataclass
from typing import TypeVar

from calotype.environment import SETTINGS

from cli.errors import CommandFailed, ExitCode
from common import config

T = TypeVar("T")


@dataclass(frozen=True)
class _NoSettings:
    """Reads no setting, and so only checks the names of all variables."""


def read(settings: type[T]) -> T:
    """Reads a settings class from the environment. Raises `CommandFailed`."""
    try:
        return config.load(settings, environ=os.environ, known=SETTINGS)
    except config.ConfigError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error


def check_names() -> None:
    """Raises `CommandFailed` for a `CALOTYPE_...` variable that no process reads; called before anything starts."""
    read(_NoSettings)
