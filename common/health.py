"""Readiness of a process: named conditions that follow the state of its dependencies."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition of readiness."""

    #: Name of the dependency, such as `broker`.
    name: str
    #: Whether the condition holds.
    ok: bool
    #: Why it does not hold; empty when it does.
    message: str = ""


class Readiness:
    """Ready while every named condition holds; calls its listeners when readiness changes."""

    def __init__(self, *names: str) -> None:
        self._conditions = {name: Condition(name=name, ok=False, message="not checked yet") for name in names}
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def ok(self) -> bool:
        """Whether all conditions hold."""
        return all(condition.ok for condition in self._conditions.values())

    def set(self, name: str, ok: bool, message: str = "") -> None:
        """Sets a condition, and adds it when the name is new."""
        before = self.ok
        self._conditions[name] = Condition(name=name, ok=ok, message="" if ok else message)
        if self.ok != before:
            for listener in self._listeners:
                listener(self.ok)

    def report(self) -> tuple[Condition, ...]:
        """Returns all conditions, sorted by name."""
        return tuple(self._conditions[name] for name in sorted(self._conditions))

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Calls the listener now and whenever readiness changes, with the readiness as its argument."""
        self._listeners.append(listener)
        listener(self.ok)
