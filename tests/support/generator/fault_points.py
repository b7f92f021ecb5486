"""Fault points: every call that a process makes to others, at which it may crash or lose the response."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class Killed(BaseException):
    """The process is gone; nothing of it runs any more."""


class Fault(Enum):
    """What happens at a fault point: to the process, or to the response."""

    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    ENDED_BEFORE = "ended before"
    ENDED_AFTER = "ended after"
    AWAY = "away"
    LOST = "lost"


@dataclass(kw_only=True)
class FaultPoints:
    """Counts the calls that a generator makes to others; faults by the number of the call, over all claims."""

    faults: Mapping[int, Fault] = field(default_factory=dict)
    number: int = 0
    is_dead: bool = False

    async def run(self, act: Callable[[], Awaitable[T]], *, away: Exception) -> T:
        """Runs one call: it is executed, not executed, or executed with its response lost."""
        await asyncio.sleep(0)
        if self.is_dead:
            raise Killed
        self.number += 1
        fault = self.faults.get(self.number)
        self._strike(fault, Fault.KILLED_BEFORE, Fault.ENDED_BEFORE, Fault.AWAY, away)
        result = await act()
        self._strike(fault, Fault.KILLED_AFTER, Fault.ENDED_AFTER, Fault.LOST, away)
        return result

    def _strike(self, fault: Fault | None, killed: Fault, ended: Fault, unheard: Fault, away: Exception) -> None:
        if fault is killed:
            self.is_dead = True
            raise Killed
        if fault is ended:
            raise asyncio.CancelledError
        if fault is unheard:
            raise away
