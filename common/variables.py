"""Environment variables: selection by name patterns, and hiding from child processes."""

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase


def chosen(environ: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """Returns the variables whose names match a pattern, case-sensitive; `*` matches any characters."""
    all_patterns = tuple(patterns)
    return {
        name: value for name, value in environ.items() if any(fnmatchcase(name, pattern) for pattern in all_patterns)
    }


def hide_from_children(patterns: Iterable[str]) -> None:
    """Hides the variables whose names match a pattern from processes that this process starts.

    `os.environ` keeps them; only the environment of child processes changes.
    """
    for name in chosen(os.environ, patterns):
        os.unsetenv(name)
