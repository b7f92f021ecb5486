"""The embedded servers come up, and serve what tests and the embedded stack rely on."""

import urllib.request

from sqlalchemy import create_engine, text

from common.database_url import driver_url
from tests.support.servers.embedded_servers import STORAGE_TOKENS, Server, new_buckets


def test_each_test_gets_a_migrated_database(database_url: str) -> None:
    engine = create_engine(driver_url(database_url))
    with engine.connect() as connection:
        tables = connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")).scalar_one()
    engine.dispose()

    assert tables >= 12


def test_storage_serves_an_object_with_slashes_to_anybody(storage: Server) -> None:
    bucket, _ = new_buckets()
    upload = urllib.request.Request(
        f"{storage.url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name=jobs/a%20b/0.png",
        data=b"picture",
        headers={"Content-Type": "image/png", "Authorization": f"Bearer {STORAGE_TOKENS['uploader']}"},
    )
    urllib.request.urlopen(upload).close()
    with urllib.request.urlopen(f"{storage.url}/{bucket}/jobs/a%20b/0.png") as answer:
        body, kind = answer.read(), answer.headers["Content-Type"]

    assert (body, kind) == (b"picture", "image/png")


def test_nats_is_ready(nats: Server) -> None:
    assert nats.child.is_alive
