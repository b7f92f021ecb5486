"""The caller's `CALOTYPE_...` variables, as commands read them."""

import os
from dataclasses import dataclass
from typing import TypeVar

from calotype.environment import SETTINGS

from cli.errors import CommandFailed, ExitCode
from common import config

T = TypeVar("T")


@dataclass(frozen=True)
class _Nothing:
    """No setting at all."""


def read(settings: type[T]) -> T:
    """Settings from the environment. Raises `CommandFailed`."""
    try:
        return config.load(settings, environ=os.environ, known=SETTINGS)
    except config.ConfigError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error


def check_names() -> None:
    """Raises `CommandFailed` when a variable has a name that no process knows: before anything is started."""
    read(_Nothing)
