"""Pauses of providers, tenants and the queue, for operators."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from gateway.schemas.queries import PlainText
from gateway.schemas.requests import Body
from gateway.schemas.wire import Moment, View

PauseKindName = Literal["provider", "tenant", "queue"]


class CreatePause(Body):
    """A new pause, or the new note of one in effect."""

    note: Annotated[PlainText, StringConstraints(max_length=500)] = ""
    """Note for other operators; one line of at most 500 characters."""


class PauseView(View):
    """A pause in effect: waiting jobs of the provider, of the tenant, or all, are not claimed."""

    kind: PauseKindName
    """What is paused."""
    name: str | None
    """Provider or tenant; null for the queue."""
    note: str | None
    """What the operator wrote about it; null for nothing."""
    paused_by: str
    """Who paused, or changed the note last: tenant and key of the operator."""
    paused_at: Moment
    """When the pause began."""


class PauseList(View):
    """All pauses in effect."""

    pauses: list[PauseView]
    """Pauses, oldest first."""


class ResumedView(View):
    """The end of a pause."""

    resumed: bool
    """False if nothing of this name was paused."""
