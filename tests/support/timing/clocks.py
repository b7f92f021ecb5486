"""Clocks that run on and that a test can advance, so that a deadline passes exactly when the test needs it."""

import time
from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from common.database_url import driver_url


class AheadClock:
    """Replaces the module `time` where only `monotonic` is used."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        """The time, in seconds."""
        return time.monotonic() + self._ahead

    def pass_by(self, seconds: float) -> None:
        """Put it forward."""
        self._ahead += seconds

    def once(self, seconds: float) -> Callable[[], None]:
        """What puts it forward when it is called first."""
        pending = [seconds]
        return lambda: self.pass_by(pending.pop() if pending else 0.0)


def put_into(monkeypatch: pytest.MonkeyPatch, *modules: object) -> AheadClock:
    """A clock that these modules read from now on."""
    clock = AheadClock()
    for module in modules:
        monkeypatch.setattr(module, "time", clock)
    return clock


class DatabaseClock:
    """A database's clock in the test's hands: connections that are opened from now on read it."""

    SET_UP = """
    CREATE SCHEMA skew;
    CREATE TABLE skew.clock (stands_at timestamptz, ahead interval NOT NULL);
    INSERT INTO skew.clock VALUES (NULL, '0 s');
    CREATE FUNCTION skew.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        'SELECT coalesce(stands_at, pg_catalog.clock_timestamp()) + ahead FROM skew.clock';
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = skew, pg_catalog, public', current_database());
    END $$
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(driver_url(url), poolclass=NullPool)
        self._run(self.SET_UP)

    def stand(self) -> None:
        """Stops the clock; from now on only the test advances it."""
        self._run("UPDATE skew.clock SET stands_at = pg_catalog.clock_timestamp(), ahead = '0 s'")

    def go(self) -> None:
        """Lets the clock run on, with the right time."""
        self._run("UPDATE skew.clock SET stands_at = NULL, ahead = '0 s'")

    def pass_by(self, seconds: float) -> None:
        """Put it forward, or back."""
        self._run("UPDATE skew.clock SET ahead = ahead + make_interval(secs => :seconds)", seconds=seconds)

    def _run(self, statement: str, **parameters: float) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement), parameters)
