"""Readiness of a process: named conditions that follow the state of its dependencies."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from common.logs import event

_LOG = logging.getLogger(__name__)
#: Message of a condition that nobody has checked.
NOT_CHECKED = "not checked yet"


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
        self._conditions = {name: Condition(name=name, ok=False, message=NOT_CHECKED) for name in names}
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def ok(self) -> bool:
        """Whether all conditions hold."""
        return all(condition.ok for condition in self._conditions.values())

    def set(self, name: str, ok: bool, message: str = "") -> None:
        """Sets a condition, and adds it when the name is new; logs when it begins or ceases to hold."""
        before = self.ok
        condition = Condition(name=name, ok=ok, message="" if ok else message)
        _log_change(self._conditions.get(name), condition)
        self._conditions[name] = condition
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


def _log_change(before: Condition | None, now: Condition) -> None:
    """Logs a condition that does not hold any more, also at the start, and one that holds again."""
    was_checked = before is not None and before.message != NOT_CHECKED
    if not now.ok and (before is None or before.ok or not was_checked):
        event(_LOG, logging.WARNING, "condition.lost", condition=now.name, reason=now.message)
    elif now.ok and before is not None and not before.ok and was_checked:
        event(_LOG, logging.INFO, "condition.restored", condition=now.name, reason=before.message)
