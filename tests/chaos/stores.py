"""The stores of a stack after a run, to be made what a bug would have left behind, and to be put back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import httpx

from tests.chaos.evidence import Evidence
from tests.chaos.history import Row
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import JUDGE, STORAGE_TOKENS

A_COMPLETED_JOB = """
SELECT jobs.id FROM jobs
WHERE state = 'completed' AND deleted_at IS NULL AND provider IN ('sync', 'async')
    AND (SELECT count(*) FROM provider_calls AS call WHERE call.job_id = jobs.id AND phase = 'succeeded'
         AND cost_micros IS NOT NULL AND consent = 'none') > 0
ORDER BY id LIMIT 1
"""


@dataclass(kw_only=True)
class Stores:
    """The stores of a stack: the database within a transaction that is never committed, a copy of the evidence, the
    buckets with everything put back at the end."""

    connection: Any
    storage_url: str
    evidence: Evidence
    #: What users asked for, by job: of a deleted one no store knows it any more.
    prompts: Mapping[str, str]
    _before: dict[tuple[str, str], bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shown = {"Authorization": f"Bearer {STORAGE_TOKENS[JUDGE]}"}
        self._http = httpx.Client(base_url=self.storage_url, trust_env=False, timeout=PATIENCE, headers=shown)

    def sql(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows, where it has some."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def one(self, statement: str, **parameters: Any) -> Any:
        """The one value of a statement. Raises `AssertionError` when the history has nothing to break."""
        rows = self.sql(statement, **parameters)
        assert rows, f"there is nothing to break: {statement}"
        return rows[0][0]

    def completed(self) -> str:
        """A completed job of a paid provider."""
        return str(self.one(A_COMPLETED_JOB))

    def picture_of(self, job_id: str) -> str:
        """The name of a job's first public image."""
        return str(self.one("SELECT public_name FROM artifacts WHERE job_id = %(id)s ORDER BY image_index", id=job_id))

    @property
    def has_touched_objects(self) -> bool:
        """Whether the buckets are not as the run left them."""
        return bool(self._before)

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object."""
        self._remember(bucket, name)
        self._write(bucket, name, data)

    def delete(self, bucket: str, name: str) -> None:
        """Delete an object."""
        self._remember(bucket, name)
        self._http.delete(f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}").raise_for_status()

    def book(self, **changes: Any) -> None:
        """Add a line to the books that is like the first purchase of a prompt, but for the changes."""
        lines = self.evidence.books.read_text(encoding="utf-8").splitlines()
        like = next(
            line for line in map(json.loads, lines) if line["event"] == "create" and line["prompt"] == changes["prompt"]
        )
        with self.evidence.books.open("a", encoding="utf-8") as file:
            file.write(json.dumps(like | changes) + "\n")

    def rewrite_books(self, change: Callable[[Row], Row | None]) -> None:
        """Change lines of the books; None takes one out."""
        lines = self.evidence.books.read_text(encoding="utf-8").splitlines()
        changed = [change(json.loads(line)) for line in lines]
        kept = [json.dumps(line) for line in changed if line is not None]
        self.evidence.books.write_text("\n".join(kept) + "\n", encoding="utf-8")

    def promise(self, job_id: str, **changes: Any) -> None:
        """Change what a user was promised, or saw."""
        told = json.loads(self.evidence.promises.read_text(encoding="utf-8"))
        told = [one | changes if one["id"] == job_id else one for one in told]
        self.evidence.promises.write_text(json.dumps(told), encoding="utf-8")

    def observe(self, **changes: Any) -> None:
        """Change how everything stood at peace."""
        self.evidence.write_peace(replace(self.evidence.read_peace(), **changes))

    def refeed(self, change: Callable[[list[list[Any]]], list[list[Any]]]) -> None:
        """Change what the broker's stream has."""
        told = json.loads(self.evidence.feed.read_text(encoding="utf-8"))
        self.evidence.feed.write_text(json.dumps(change(told)), encoding="utf-8")

    def receive(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Change what receivers of webhooks got, and what the notifier has written down."""
        kept = json.loads(self.evidence.received.read_text(encoding="utf-8"))
        self.evidence.received.write_text(json.dumps(change(kept)), encoding="utf-8")

    def restore(self) -> None:
        """Put everything back."""
        self.connection.rollback()
        for (bucket, name), data in self._before.items():
            if data is None:
                self._http.delete(f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}").raise_for_status()
            else:
                self._write(bucket, name, data)
        self._http.close()

    def _remember(self, bucket: str, name: str) -> None:
        answer = self._http.get(f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}", params={"alt": "media"})
        self._before[(bucket, name)] = answer.content if answer.status_code == 200 else None

    def _write(self, bucket: str, name: str, data: bytes) -> None:
        self._http.post(
            f"/upload/storage/v1/b/{bucket}/o",
            params={"uploadType": "media", "name": name},
            content=data,
            headers={"Content-Type": "image/png"},
        ).raise_for_status()
