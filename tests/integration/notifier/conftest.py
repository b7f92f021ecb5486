"""The notifier's use cases on a real database: one per module, emptied after each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from common.database_url import driver_url
from common.postgres import Database
from services.notifier.migrations import MIGRATIONS
from services.notifier.store.pools import CONNECTIONS, POOLS
from tests.support.notifier.scripted_store import ROOTS, ScriptedJobService, ScriptedSender, Tables, store_at
from tests.support.patience import PATIENCE
from tests.support.servers import embedded_servers as servers

TEMPLATE = "template_notifier"


@pytest.fixture(scope="session")
def notifier_template(postgres: servers.Server) -> str:
    """A migrated database that others are copied from."""
    engine = create_engine(driver_url(postgres.url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {TEMPLATE}"))
    engine.dispose()
    MIGRATIONS.upgrade(f"{postgres.url.rpartition('/')[0]}/{TEMPLATE}")
    return TEMPLATE


@pytest.fixture(scope="module")
def module_database(postgres: servers.Server, notifier_template: str) -> Iterator[str]:
    """A database of the module's own, with the newest schema."""
    url = servers.copy_database(postgres.url, notifier_template)
    yield url
    servers.drop_database(postgres.url, url)


@pytest.fixture
def database_url(module_database: str) -> Iterator[str]:
    """The module's database, empty."""
    yield module_database
    engine = create_engine(driver_url(module_database), poolclass=NullPool)
    with engine.begin() as connection:
        # A test that left a transaction open is told so, instead of hanging those after it.
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        for table in ROOTS:
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE event_cursor SET resume_token = NULL"))
    engine.dispose()


@pytest.fixture
def store(database_url: str) -> Iterator[Tables]:
    """The tables; what always holds is checked after the test."""
    with store_at(database_url) as store:
        yield store
        store.check()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database, as a process uses it; nothing times out on a busy machine."""
    database = Database(
        database_url,
        application="test",
        pool_size=CONNECTIONS,
        pools=POOLS,
        lock_timeout_ms=int(PATIENCE * 1_000),
        statement_timeout_ms=int(PATIENCE * 1_000),
        queue_timeout_seconds=PATIENCE,
    )
    yield database
    await database.close()


@pytest.fixture
def sender() -> ScriptedSender:
    """Receivers."""
    return ScriptedSender()


@pytest.fixture
def job_service() -> ScriptedJobService:
    """job-service."""
    return ScriptedJobService()
