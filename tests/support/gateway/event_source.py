"""Reads server-sent events, comments too, as the HTML standard defines them."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Event:
    """One block of a stream."""

    fields: dict[str, str] = field(default_factory=dict)
    comment: str | None = None

    @property
    def name(self) -> str:
        """Its name; "" for a block that is no event."""
        return self.fields.get("event", "")

    @property
    def data(self) -> Any:
        """What it carries."""
        return json.loads(self.fields["data"])


async def events(response: httpx.Response) -> AsyncIterator[Event]:
    """Every block until the stream ends."""
    event = Event()
    async for line in response.aiter_lines():
        if line.startswith(":"):
            event.comment = line[1:].strip()
        elif line:
            name, _, value = line.partition(":")
            assert name not in event.fields, f"{name} stands twice"
            event.fields[name] = value.removeprefix(" ")
        elif event.fields or event.comment is not None:
            yield event
            event = Event()
    assert not event.fields, "the stream ended within an event"


async def next_job(stream: AsyncIterator[Event]) -> Event:
    """The next event about a job."""
    return await anext(event async for event in stream if event.name == "job")
