"""job-service's use cases on a real database: one per module, emptied after each test."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from common.postgres import driver_url
from tests.support import servers
from tests.support.jobs import JobDesk, desk_at

# What refers to these goes with them.
ROOTS = (
    "jobs", "provider_calls", "provider_call_images", "idempotency_keys", "tenant_load", "deletions", "providers",
    "breakers", "tenant_rates",
)  # fmt: skip


@pytest.fixture(scope="module")
def module_database(postgres: servers.Server, template: str) -> Iterator[str]:
    """A database of the module's own, with the newest schema."""
    url = servers.copy_database(postgres.url, template)
    yield url
    servers.drop_database(postgres.url, url)


@pytest.fixture
def database_url(module_database: str) -> Iterator[str]:
    """The module's database, empty."""
    yield module_database
    engine = create_engine(driver_url(module_database), poolclass=NullPool)
    with engine.begin() as connection:
        # A test that left a transaction open is told so, instead of hanging those after it.
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        for table in ROOTS:
            connection.execute(text(f"DELETE FROM {table}"))
    engine.dispose()


@pytest.fixture
def desk(database_url: str) -> Iterator[JobDesk]:
    """A desk with the providers `procedural` (free, default) and `paid`."""
    with desk_at(database_url) as desk:
        yield desk
