"""The URL of a database that several servers hold, one of which takes writes."""

import pytest
from sqlalchemy.engine import make_url

from common.database_url import driver_url


def options(url: str) -> dict[str, object]:
    """What the driver is told."""
    dialect = make_url(driver_url(url)).get_dialect()()
    return dict(dialect.create_connect_args(make_url(driver_url(url)))[1])


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:p%40ss@db-0:5432,db-1:5433/calotype",
        "postgresql://me:p%40ss@/calotype?host=db-0,db-1&port=5432,5433",
    ],
)
def test_of_several_hosts_the_one_that_takes_writes_is_used(url: str) -> None:
    assert options(url) == {
        "host": "db-0,db-1",
        "port": "5432,5433",
        "dbname": "calotype",
        "user": "me",
        "password": "p@ss",
        "target_session_attrs": "read-write",
    }


def test_hosts_without_ports_and_further_options_are_kept() -> None:
    found = options("postgresql://me@db-0,[::1]:5433/calotype?sslmode=verify-full&target_session_attrs=primary")

    assert (found["host"], found["port"]) == ("db-0,::1", "5432,5433")
    assert (found["sslmode"], found["target_session_attrs"]) == ("verify-full", "primary")


def test_one_host_is_used_whatever_it_takes() -> None:
    found = options("postgresql://me:secret@db-0:5433/calotype?sslmode=require")

    assert (found["host"], found["port"], found["sslmode"]) == ("db-0", 5433, "require")
    assert "target_session_attrs" not in found
    assert driver_url("postgresql://me:secret@db-0/calotype") == "postgresql+psycopg2://me:secret@db-0/calotype"
