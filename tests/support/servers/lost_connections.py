"""Connections to PostgreSQL that the server ends, as it does when it is restarted."""

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from common.database_url import driver_url

END_CONNECTIONS = """
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
WHERE application_name = 'test' AND datname = current_database()
"""


def end_connections(url: str) -> None:
    """Has the server end all connections of the pool that is named `test`."""
    engine = create_engine(driver_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(END_CONNECTIONS))
    engine.dispose()
