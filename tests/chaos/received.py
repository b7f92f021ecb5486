"""What receivers of webhooks got, and what the notifier has written down of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.receivers import ACCEPTED, Behaviour


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An endpoint of a tenant; no types stand for all. `secret` is the public key of one with the scheme v1a."""

    id: str
    receiver: str
    tenant: str
    event_types: Sequence[str]
    scheme: str
    secret: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, `at` so many seconds since 1970."""

    receiver: str
    path: str
    at: float
    headers: Mapping[str, str]
    body: str
    did: Behaviour

    @property
    def id(self) -> str:
        """The delivery's."""
        return self.headers["webhook-id"]

    @property
    def target(self) -> str:
        """Receiver and path: an endpoint, or the callback URL of one job."""
        return self.receiver + self.path

    @property
    def was_accepted(self) -> bool:
        """Whether the receiver acknowledged it."""
        return self.did in ACCEPTED

    @property
    def event(self) -> Mapping[str, Any]:
        """The body as JSON."""
        found: Mapping[str, Any] = json.loads(self.body)
        return found


#: Job and sequence of a final event.
EventKey = tuple[str, int]


def key_of(event: Mapping[str, Any]) -> EventKey | None:
    """Job and sequence that a body is about; None for an event of an endpoint."""
    return (event["data"]["id"], event["data"]["sequence"]) if event["type"].startswith("job.") else None


@dataclass(frozen=True, kw_only=True)
class Received:
    """All requests in their order; rows of the notifier's tables as JSON."""

    endpoints: Sequence[Endpoint]
    signing_secrets: Mapping[str, str]
    requests: Sequence[Request]
    forbidden: Sequence[str]
    tables: Mapping[str, Sequence[str]]

    def disabled(self) -> set[str]:
        """Ids of endpoints that are disabled, in the form in which tables have them."""
        rows = map(json.loads, self.tables["webhook_endpoints"])
        return {row["id"].replace("-", "") for row in rows if row["disabled_reason"] is not None}

    def attempts_at(self, receiver: str) -> Sequence[Mapping[str, Any]]:
        """Rows of attempts at the endpoints of a receiver."""
        endpoints = {one.id.removeprefix("wh_") for one in self.endpoints if one.receiver == receiver}
        deliveries = map(json.loads, self.tables["webhook_deliveries"])
        ids = {row["id"] for row in deliveries if row["endpoint_id"].replace("-", "") in endpoints}
        return [row for row in map(json.loads, self.tables["webhook_attempts"]) if row["delivery_id"] in ids]


def read(path: Path) -> Received:
    """What a run has kept."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    endpoints = [
        Endpoint(**{**one, "created_at": datetime.fromisoformat(one["created_at"])}) for one in kept["endpoints"]
    ]
    requests = [Request(**{**one, "did": Behaviour(one["did"])}) for one in kept["requests"]]
    return Received(**{**kept, "endpoints": endpoints, "requests": requests})
