"""What the parts tell each other."""

from dataclasses import dataclass
from pathlib import Path


class FreshError(Exception):
    """Nothing can be run; the message is for people."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one command ended."""

    system: str
    #: Of the system; empty if it could not be installed.
    python: str
    command: str
    #: None if it ran out of time.
    code: int | None
    seconds: float
    log: Path

    @property
    def is_good(self) -> bool:
        """Whether it ended as it should."""
        return self.code == 0
