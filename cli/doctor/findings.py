"""What an examination found: a level, a fact, and what to do about it."""

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    """How bad it is; only `FAIL` makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report; `advice` is empty when all is well."""

    level: Level
    fact: str
    advice: str = ""


def ok(fact: str) -> Finding:
    """All is well."""
    return Finding(level=Level.OK, fact=fact)


def warn(fact: str, advice: str) -> Finding:
    """It works, but some promise is weaker than it could be."""
    return Finding(level=Level.WARN, fact=fact, advice=advice)


def fail(fact: str, advice: str) -> Finding:
    """It does not work, or a promise does not hold."""
    return Finding(level=Level.FAIL, fact=fact, advice=advice)
