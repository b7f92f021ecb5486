"""Readiness: named conditions that follow the real state of what a process depends on."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One thing that readiness depends on."""

    name: str
    ok: bool
    message: str = ""


class Readiness:
    """Ready while every condition that was ever named holds; listeners hear of each change."""

    def __init__(self, *names: str) -> None:
        self._conditions = {name: Condition(name=name, ok=False, message="not checked yet") for name in names}
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def ok(self) -> bool:
        """Whether all conditions hold."""
        return all(condition.ok for condition in self._conditions.values())

    def set(self, name: str, ok: bool, message: str = "") -> None:
        """State a condition."""
        before = self.ok
        self._conditions[name] = Condition(name=name, ok=ok, message="" if ok else message)
        if self.ok != before:
            for listener in self._listeners:
                listener(self.ok)

    def report(self) -> tuple[Condition, ...]:
        """Every condition, by name."""
        return tuple(self._conditions[name] for name in sorted(self._conditions))

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call the listener now and whenever readiness changes."""
        self._listeners.append(listener)
        listener(self.ok)
