"""The work of a job that every peer does, in steps; and where its servers are.

    create table, once; then for each job: an intent is committed, the provider is called over HTTP, the image is
    decoded and staged; copied to the public bucket, and the final row is committed; the staged object is deleted.

Every peer uses these functions, so that only the queue differs. Objects are written through plain HTTP.
"""

import base64
import json
import os
from functools import cache

import psycopg
import urllib3
from psycopg_pool import ConnectionPool

#: Jobs that a peer works on at a time, and clients that submit.
CONCURRENCY = 16
TABLE = """
CREATE TABLE IF NOT EXISTS peer_jobs (
    id text PRIMARY KEY, state text NOT NULL, public_name text,
    created_at timestamptz NOT NULL, finished_at timestamptz)
"""
INTENT = """
INSERT INTO peer_jobs VALUES (%s, 'calling', NULL, clock_timestamp(), NULL)
ON CONFLICT (id) DO NOTHING
"""
FINAL = """
UPDATE peer_jobs SET state = 'completed', public_name = %s, finished_at = clock_timestamp() WHERE id = %s
"""


def place(name: str) -> str:
    """Address of a server, as the benchmark started it."""
    return os.environ[f"PEER_{name}"]


@cache
def pool() -> ConnectionPool[psycopg.Connection]:
    """Connections to the database, each used by one thread at a time."""
    return ConnectionPool(place("DATABASE"), min_size=1, max_size=CONCURRENCY, open=True)


@cache
def http() -> urllib3.PoolManager:
    """Connections to the provider and the object store, which are kept open."""
    return urllib3.PoolManager(maxsize=CONCURRENCY, block=True, retries=False, timeout=60)


def prepare() -> None:
    """Creates the table of the jobs."""
    with pool().connection() as connection:
        connection.execute(TABLE)


def generate(job: str) -> None:
    """Commits the intent, calls the provider, decodes the image and stages it."""
    with pool().connection() as connection:
        connection.execute(INTENT, (job,))
    body = json.dumps({"model": "m", "prompt": f"a lighthouse {job}"})
    headers = {"content-type": "application/json", "authorization": "Bearer key"}
    response = http().request("POST", f"{place('PROVIDER')}/images/generations", body=body, headers=headers)
    image = base64.b64decode(json.loads(response.data)["data"][0]["b64_json"], validate=True)
    _store("POST", f"/upload/storage/v1/b/staging/o?uploadType=media&name={job}&ifGenerationMatch=0", image)


def publish(job: str) -> None:
    """Copies the image into the public bucket and commits the final row."""
    _store("POST", f"/storage/v1/b/staging/o/{job}/rewriteTo/b/public/o/{job}?ifGenerationMatch=0", b"")
    with pool().connection() as connection:
        connection.execute(FINAL, (job, job))


def delete(job: str) -> None:
    """Deletes the staged object."""
    _store("DELETE", f"/storage/v1/b/staging/o/{job}", None)


def _store(method: str, path: str, body: bytes | None) -> None:
    headers = {"authorization": f"Bearer {place('STORAGE_TOKEN')}", "content-type": "image/png"}
    response = http().request(method, place("STORAGE") + path, body=body, headers=headers)
    if response.status not in (200, 204):
        raise RuntimeError(f"{method} {path}: {response.status} {response.data[:200]!r}")
