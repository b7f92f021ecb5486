"""Whether the gateway lives and can serve."""

from typing import Literal

from gateway.schemas.wire import View


class AliveView(View):
    """The process answers."""

    status: Literal["ok"]


class ConditionView(View):
    """One thing that readiness depends on."""

    name: str
    ok: bool
    message: str


class ReadyView(View):
    """Whether requests can be served now."""

    status: Literal["ok", "unavailable"]
    conditions: list[ConditionView]
