"""A clock that goes on as it does, and that a test can put forward: a deadline passes when it is to, and not before."""

import time
from collections.abc import Callable

import pytest


class AheadClock:
    """What a module knows as `time`, as far as it asks for `monotonic`."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        """The time, in seconds."""
        return time.monotonic() + self._ahead

    def pass_by(self, seconds: float) -> None:
        """Put it forward."""
        self._ahead += seconds

    def once(self, seconds: float) -> Callable[[], None]:
        """What puts it forward when it is called first."""
        left = [seconds]
        return lambda: self.pass_by(left.pop() if left else 0.0)


def put_into(monkeypatch: pytest.MonkeyPatch, *modules: object) -> AheadClock:
    """A clock that these modules read from now on."""
    clock = AheadClock()
    for module in modules:
        monkeypatch.setattr(module, "time", clock)
    return clock
