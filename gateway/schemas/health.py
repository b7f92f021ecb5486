"""Liveness and readiness of the gateway."""

from typing import Literal

from gateway.schemas.wire import View

ReadyStatus = Literal["ok", "unavailable"]


class AliveView(View):
    """The process responds to requests."""

    status: Literal["ok"]
    """Always `ok`."""


class ConditionView(View):
    """A condition of readiness."""

    name: str
    """Name of the condition, such as `job-service`."""
    ok: bool
    """True if the condition holds."""
    message: str
    """Why the condition does not hold; empty if it does or if there is nothing to add."""


class ReadyView(View):
    """Whether the gateway can serve requests now."""

    status: ReadyStatus
    """`ok` if every condition holds."""
    conditions: list[ConditionView]
    """Every condition of readiness."""
