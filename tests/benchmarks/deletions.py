"""How fast folders are emptied by one generator and one uploader, each with a bucket of its own to look after.

`PYTHONPATH=.:proto .venv/bin/python -P -m tests.benchmarks.deletions --folders 2000`
"""

import argparse
import asyncio
import os
import time
from uuid import uuid4

import psycopg2

from cli.stack.state import StackState
from common.ids import new_uuid7, prefixed
from common.object_store import ObjectStore
from tests.benchmarks.running import stack, suspended

#: As after an hour in which nobody could delete: one look at each folder is the last.
DUE = """
INSERT INTO deletions (id, job_id, bucket, prefix, due_at, asked_at)
VALUES (%(id)s, %(job)s, %(bucket)s, %(prefix)s, clock_timestamp(), clock_timestamp() - interval '1 hour')
"""
OPEN = "SELECT count(*) FROM deletions WHERE bucket = %(bucket)s"


def ask_for(state: StackState, bucket: str, folders: list[str]) -> None:
    """Have folders deleted."""
    above = "jobs/" if bucket == "public" else ""
    with psycopg2.connect(state.database_url) as connection, connection.cursor() as cursor:
        for job in folders:
            told = {"id": f"del_{uuid4().hex}", "job": job, "bucket": bucket, "prefix": f"{above}{job}/"}
            cursor.execute(DUE, told)
    connection.close()


def left(state: StackState, bucket: str) -> int:
    """Folders that are not gone yet."""
    with psycopg2.connect(state.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(OPEN, {"bucket": bucket})
        [[count]] = cursor.fetchall()
    connection.close()
    return int(count)


async def fill(state: StackState, bucket: str, folders: list[str]) -> None:
    """One picture into each folder."""
    os.environ["STORAGE_EMULATOR_TOKEN"] = state.storage_tokens["uploader" if bucket == "public" else "generator"]
    store = ObjectStore(state.bucket if bucket == "public" else state.staging_bucket, threads=16)
    above = "jobs/" if bucket == "public" else ""
    puts = (store.put(f"{above}{job}/call_1/0", b"x" * 1000, content_type="image/png", metadata={}) for job in folders)
    await asyncio.gather(*puts)
    await store.close()


def measure(state: StackState, bucket: str, worker: str, *, folders: int, with_pictures: bool) -> None:
    """Have them deleted, and print how fast they were."""
    named = [prefixed("job", new_uuid7()) for _ in range(folders)]
    with suspended(state, worker):
        if with_pictures:
            began = time.monotonic()
            for at in range(0, folders, 200):
                asyncio.run(fill(state, bucket, named[at : at + 200]))
            print(f"{bucket}, {folders} pictures put into it: {folders / (time.monotonic() - began):.0f} pictures/s")
        ask_for(state, bucket, named)
    began = time.monotonic()
    while left(state, bucket):
        time.sleep(0.05)
    took = time.monotonic() - began
    kind = "with a picture" if with_pictures else "empty"
    print(f"{bucket}, {folders} folders {kind}: {folders / took:.0f} folders/s by one {worker}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folders", type=int, default=2_000)
    folders = parser.parse_args().folders
    with stack() as (state, _):
        os.environ["STORAGE_EMULATOR_HOST"] = state.storage_url
        for bucket, worker in (("staging", "generator"), ("public", "uploader")):
            for with_pictures in (False, True):
                measure(state, bucket, worker, folders=folders, with_pictures=with_pictures)


if __name__ == "__main__":
    main()
