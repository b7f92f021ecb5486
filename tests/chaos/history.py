"""What happened, from all who know: the database, the providers' books, both buckets, the broker, and users."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

import httpx
import psycopg2.extras

from services.job.domain.states import FINAL
from tests.chaos import received
from tests.chaos.clock import STEP_SECONDS, RealTime
from tests.chaos.evidence import Evidence, Peace
from tests.chaos.received import Received
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import JUDGE, STORAGE_TOKENS

Row = Mapping[str, Any]
TABLES = (
    "jobs",
    "job_events",
    "attempts",
    "provider_calls",
    "provider_call_images",
    "artifacts",
    "outbox",
    "deletions",
    "chaos_breakers",
)
ORDER = {
    "job_events": "sequence",
    "attempts": "claim_number",
    "chaos_breakers": "number",
}
#: Where something of a deleted job's user might stay behind.
PERSONAL = ("jobs", "job_events", "job_inputs", "artifacts", "attempts", "provider_calls", "outbox")


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A job that a user was answered for; `answers` are the ids that its key was answered with."""

    id: str
    key: str
    tenant: str
    prompt: str
    shape: str
    count: int
    fallback: Sequence[str]
    falls_back_on_refusal: bool
    finish_within: int | None
    may_pay_again: bool
    callback: str | None
    """Receiver and path of its callback URL."""
    answers: tuple[str, ...]
    deleted: bool
    retries: int
    consents: int
    heard: Sequence[int]
    last_seen: int
    seen: Row | None
    told: Row | None


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object: digest of its bytes, and whether somebody without a credential was given them."""

    name: str
    sha256: str
    is_public: bool


@dataclass(frozen=True, kw_only=True)
class History:
    """Everything; rows as the database has them, lists of rows by job."""

    promises: Sequence[Promise]
    jobs: Mapping[str, Row]
    events: Mapping[str, Sequence[Row]]
    """But for deleted jobs, of which not all are left."""
    final_events: Mapping[str, Sequence[Row]]
    """Events of final jobs, and what is left of those of deleted ones."""
    attempts: Mapping[str, Sequence[Row]]
    calls: Mapping[str, Sequence[Row]]
    covers: Mapping[str, Sequence[Row]]
    artifacts: Mapping[str, Sequence[Row]]
    outbox: Sequence[Row]
    deletions: Sequence[Row]
    leftovers: Mapping[str, Sequence[str]]
    """Tables in which a deleted job's prompt was found, by job."""
    purchases: Mapping[str, Sequence[Row]]
    """Creates in the providers' books by prompt, oldest first; `canceled_at` where one was stopped, `ended_at`."""
    public: Mapping[str, StoredObject]
    staging: Sequence[str]
    feed: Sequence[tuple[str, int]]
    """Job and sequence of each stored event in the broker's order, over all its stores."""
    breakers: Sequence[Row]
    """What became of breakers, in order; `opened_at` is null once one is closed."""
    peace: Peace
    received: Received

    def purchases_of(self, promise: Promise) -> Sequence[Row]:
        """What was bought for a job, oldest first."""
        return self.purchases.get(promise.prompt, ())

    def set_between(self, since: datetime, until: datetime) -> timedelta:
        """By how much the database's clock was set within that time, forward and back taken together."""
        steps = sum(
            strike.kinds == {"clock"} and since <= strike.until and strike.at <= until for strike in self.peace.struck
        )
        return timedelta(seconds=STEP_SECONDS) * steps

    def moments(self, job_id: str, event_type: str) -> list[datetime]:
        """When a job had events of a type."""
        return [event["occurred_at"] for event in self.events.get(job_id, ()) if event["type"] == event_type]


def read(
    connection: Any, *, evidence: Evidence, storage_url: str, bucket: str, staging_bucket: str, like: History | None
) -> History:
    """Ask everybody; the database as this connection sees it, and the buckets as they were, where that is known."""
    promises = promises_in(evidence.promises)
    real_time = RealTime(connection)
    tables = {name: [real_time.of(row) for row in _rows(connection, name)] for name in TABLES}
    tables["provider_calls"].sort(key=lambda row: (row["created_at"], row["id"]))
    # What is left of a deleted job's events is not its whole way.
    deleted = {row["id"] for row in tables["jobs"] if row["deleted_at"] is not None}
    events = [row for row in tables["job_events"] if row["job_id"] not in deleted]
    leftovers = {one.id: _tables_with(connection, one.id, one.prompt) for one in promises if one.deleted}
    return History(
        promises=promises,
        jobs={row["id"]: row for row in tables["jobs"]},
        events=_by_job(events),
        final_events=_by_job([row for row in tables["job_events"] if row["state"] in FINAL]),
        attempts=_by_job(tables["attempts"]),
        calls=_by_job(tables["provider_calls"]),
        covers=_by_job(tables["provider_call_images"]),
        artifacts=_by_job(tables["artifacts"]),
        outbox=tables["outbox"],
        deletions=tables["deletions"],
        leftovers={job_id: found for job_id, found in leftovers.items() if found},
        purchases=_purchases(evidence.books),
        public=_objects(storage_url, bucket) if like is None else like.public,
        staging=names_in(storage_url, staging_bucket) if like is None else like.staging,
        feed=[(job_id, sequence) for job_id, sequence in json.loads(evidence.feed.read_text(encoding="utf-8"))],
        breakers=tables["chaos_breakers"],
        peace=evidence.read_peace(),
        received=received.read(evidence.received),
    )


def promises_in(path: Path) -> list[Promise]:
    """What a load wrote down."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return [Promise(**{**one, "answers": tuple(one["answers"])}) for one in told]


def names_in(storage_url: str, bucket: str) -> list[str]:
    """The names of all objects of a bucket."""
    return [name for name, _ in _names(storage_url, bucket)]


def _rows(connection: Any, table: str) -> list[Row]:
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY {ORDER.get(table, '1')}")
        return [dict(row) for row in cursor.fetchall()]


def _tables_with(connection: Any, job_id: str, words: str) -> list[str]:
    found = []
    with connection.cursor() as cursor:
        for table in PERSONAL:
            column = "id" if table == "jobs" else "job_id"
            cursor.execute(
                f"SELECT count(*) FROM {table} WHERE {column} = %s AND position(%s in {table}::text) > 0",
                (job_id, words),
            )
            if cursor.fetchone()[0]:
                found.append(table)
    return found


def _by_job(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["job_id"]].append(row)
    return dict(found)


def _purchases(books: Path) -> dict[str, list[Row]]:
    lines = [json.loads(line) for line in books.read_text(encoding="utf-8").splitlines()] if books.exists() else []
    canceled_at = {line["id"]: line["time"] for line in lines if line["event"] == "cancel"}
    let_go_at = {line["id"]: line["time"] for line in lines if line["event"] == "end"}
    found: dict[str, list[Row]] = defaultdict(list)
    for line in lines:
        if line["event"] == "create":
            canceled = canceled_at.get(line["id"])
            # An operation goes on after its request.
            goes_on = line["shape"] == "async" and line["charged"]
            ended_at = min(line["done_at"], canceled or inf) if goes_on else let_go_at.get(line["id"], inf)
            found[line["prompt"]].append(line | {"canceled_at": canceled, "ended_at": ended_at})
    return dict(found)


def _objects(storage_url: str, bucket: str) -> dict[str, StoredObject]:
    found = {}
    with httpx.Client(trust_env=False, timeout=PATIENCE) as anybody:
        for name, size in _names(storage_url, bucket):
            answer = anybody.get(f"{storage_url}/{bucket}/{name}")
            found[name] = StoredObject(
                name=name,
                sha256=sha256(answer.content).hexdigest(),
                is_public=answer.status_code == 200 and len(answer.content) == size,
            )
    return found


def _names(storage_url: str, bucket: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    token = ""
    shown = {"Authorization": f"Bearer {STORAGE_TOKENS[JUDGE]}"}
    with httpx.Client(trust_env=False, timeout=PATIENCE, headers=shown) as http:
        while True:
            page = http.get(
                f"{storage_url}/storage/v1/b/{bucket}/o", params={"maxResults": 1000, "pageToken": token}
            ).json()
            found += [(one["name"], int(one["size"])) for one in page.get("items", ())]
            token = page.get("nextPageToken", "")
            if not token:
                return found
