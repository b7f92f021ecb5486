"""The result of a check: a level, a fact, and advice."""

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    """How bad a finding is; only `FAIL` makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    #: Whether it is fine, weak or broken.
    level: Level
    #: What was found, as a phrase without a period.
    fact: str
    #: What to do about it; empty when there is nothing to do.
    advice: str = ""


def ok(fact: str) -> Finding:
    """A finding without fault."""
    return Finding(level=Level.OK, fact=fact)


def warn(fact: str, advice: str) -> Finding:
    """A finding about what works, but keeps a promise less well than it could."""
    return Finding(level=Level.WARN, fact=fact, advice=advice)


def fail(fact: str, advice: str) -> Finding:
    """A finding about what does not work, or breaks a promise."""
    return Finding(level=Level.FAIL, fact=fact, advice=advice)
