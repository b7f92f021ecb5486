"""Variables of the environment: chosen by name, and kept from processes that are started."""

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase


def chosen(environ: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """The variables whose names match a pattern; `*` stands for anything."""
    wanted = tuple(patterns)
    return {name: value for name, value in environ.items() if any(fnmatchcase(name, one) for one in wanted)}


def hide_from_children(patterns: Iterable[str]) -> None:
    """Keep variables whose names match a pattern from processes that this one starts.

    `os.environ` still has them: only what the system hands on is changed.
    """
    for name in chosen(os.environ, patterns):
        os.unsetenv(name)
