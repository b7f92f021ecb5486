"""What happened, from all who know: the database, the providers' books, both buckets, and what users were promised."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psycopg2.extras

from tests.support.patience import PATIENCE

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
)
ORDER = {"job_events": "sequence", "attempts": "claim_number", "provider_calls": "created_at, id"}
#: Where something of a deleted job's user might stay behind.
PERSONAL = ("jobs", "job_events", "job_inputs", "artifacts", "attempts", "provider_calls", "outbox")


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A job that a user was answered for; `answers` are the ids that its key was answered with."""

    id: str
    key: str
    prompt: str
    shape: str
    count: int
    answers: tuple[str, ...]
    deleted: bool
    retries: int


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
    attempts: Mapping[str, Sequence[Row]]
    calls: Mapping[str, Sequence[Row]]
    covers: Mapping[str, Sequence[Row]]
    artifacts: Mapping[str, Sequence[Row]]
    outbox: Sequence[Row]
    deletions: Sequence[Row]
    leftovers: Mapping[str, Sequence[str]]
    """Tables in which a deleted job's prompt was found, by job."""
    purchases: Mapping[str, Sequence[Row]]
    """Creates in the providers' books by prompt, oldest first; `canceled` says whether they were stopped."""
    public: Mapping[str, StoredObject]
    staging: Sequence[str]

    def purchases_of(self, promise: Promise) -> Sequence[Row]:
        """What was bought for a job, oldest first."""
        return self.purchases.get(promise.prompt, ())


def read(
    connection: Any, *, promises: Sequence[Promise], books: Path, storage_url: str, bucket: str, staging_bucket: str
) -> History:
    """Ask everybody; the database as this connection sees it."""
    tables = {name: _rows(connection, name) for name in TABLES}
    leftovers = {one.id: _tables_with(connection, one.id, one.prompt) for one in promises if one.deleted}
    return History(
        promises=promises,
        jobs={row["id"]: row for row in tables["jobs"]},
        events=_by_job(tables["job_events"]),
        attempts=_by_job(tables["attempts"]),
        calls=_by_job(tables["provider_calls"]),
        covers=_by_job(tables["provider_call_images"]),
        artifacts=_by_job(tables["artifacts"]),
        outbox=tables["outbox"],
        deletions=tables["deletions"],
        leftovers={job_id: found for job_id, found in leftovers.items() if found},
        purchases=_purchases(books),
        public=_objects(storage_url, bucket),
        staging=[name for name, _ in _names(storage_url, staging_bucket)],
    )


def promises_in(path: Path) -> list[Promise]:
    """What a load wrote down."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return [Promise(**{**one, "answers": tuple(one["answers"])}) for one in told]


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
    canceled = {line["id"] for line in lines if line["event"] == "cancel"}
    found: dict[str, list[Row]] = defaultdict(list)
    for line in lines:
        if line["event"] == "create":
            found[line["prompt"]].append(line | {"canceled": line["id"] in canceled})
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
    with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
        while True:
            page = http.get(
                f"{storage_url}/storage/v1/b/{bucket}/o", params={"maxResults": 1000, "pageToken": token}
            ).json()
            found += [(one["name"], int(one["size"])) for one in page.get("items", ())]
            token = page.get("nextPageToken", "")
            if not token:
                return found
