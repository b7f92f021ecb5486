"""Statements on the driver: parameters, rows and errors are those that SQLAlchemy would give."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy.exc import DataError, IntegrityError, MultipleResultsFound, NoResultFound, ProgrammingError

from common.postgres import Database
from common.sql import Connection, ReadResult, text

ID = UUID("0190163d-8694-739b-aea5-966c26f8ad91")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool of one connection."""
    opened = Database(database_url, application="test", pool_size=1)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uuid", ID),
        ("timestamptz", datetime(2026, 11, 28, 7, 3, 34, 120_000, tzinfo=UTC)),
        ("text[]", ["a", 'quoted "b"', "percent %s", ":name"]),
        ("jsonb", None),
        ("bigint", 2**62),
        ("boolean", True),
        ("text", "back\\slash 'and' %(name)s"),
    ],
)
async def test_a_value_comes_back_as_it_was_sent(database: Database, kind: str, value: object) -> None:
    def work(connection: Connection) -> object:
        statement = text(f"SELECT CAST(:value AS {kind})")
        return connection.execute(statement, {"value": value}).scalar_one()

    assert await database.run(work) == value


async def test_json_is_read_and_bytes_are_bytes(database: Database) -> None:
    def work(connection: Connection) -> tuple[object, bytes]:
        found = connection.execute(text("""SELECT '{"a": [1, null]}'::jsonb, CAST(:data AS bytea)"""), {"data": b"\0"})
        value, data = found.one()
        return value, bytes(data)

    assert await database.run(work) == ({"a": [1, None]}, b"\0")


async def test_a_percent_sign_is_no_parameter(database: Database) -> None:
    def work(connection: Connection) -> tuple[object, object]:
        alone = connection.execute(text("SELECT 'a' LIKE '%a' AND 5 % 2 = 1")).scalar_one()
        return alone, connection.execute(text("SELECT :x LIKE '%a'"), {"x": "a"}).scalar_one()

    assert await database.run(work) == (True, True)


async def test_rows_are_read_by_name_by_position_and_as_dictionaries(database: Database) -> None:
    def work(connection: Connection) -> None:
        found = connection.execute(text("SELECT n, n * n AS square FROM generate_series(1, 3) AS n ORDER BY n"))
        assert [(row.n, row.square) for row in found] == [(1, 1), (2, 4), (3, 9)]
        assert [n + square for n, square in found.all()] == [2, 6, 12]
        assert found.mappings().all()[1] == {"n": 2, "square": 4}
        assert list(found.scalars()) == [1, 2, 3]
        assert (found.first(), found.scalar(), found.rowcount) == ((1, 1), 1, 3)

    await database.run(work)


async def test_one_row_is_one_row(database: Database) -> None:
    def rows(connection: Connection, count: int) -> ReadResult:
        return connection.execute(text("SELECT n FROM generate_series(1, :count) AS n"), {"count": count})

    def work(connection: Connection) -> None:
        none, one, two = (rows(connection, count) for count in range(3))
        assert (none.first(), none.scalar(), none.mappings().first()) == (None, None, None)
        assert (one.one(), one.scalar_one(), one.mappings().one()) == ((1,), 1, {"n": 1})
        for read in (none.one, none.scalar_one, none.mappings().one):
            with pytest.raises(NoResultFound):
                read()
        for read in (two.one, two.scalar_one, two.mappings().one):
            with pytest.raises(MultipleResultsFound):
                read()

    await database.run(work)


async def test_a_change_tells_how_many_rows_it_changed(database: Database) -> None:
    def work(connection: Connection) -> list[int]:
        add = text("INSERT INTO tenant_load (tenant) SELECT 't' || n FROM generate_series(1, 3) AS n")
        found = [connection.execute(add), connection.execute(text("DELETE FROM tenant_load WHERE tenant <> 't1'"))]
        return [result.rowcount for result in found]

    assert await database.run(work) == [3, 2]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO tenant_load (tenant) VALUES (:secret), (:secret)", IntegrityError),
        ("SELECT CAST(:secret AS integer)", DataError),
        ("SELECT :secret FROM no_such_table", ProgrammingError),
    ],
)
async def test_an_error_has_its_class_and_no_value(
    database: Database, statement: str, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(error) as caught:
        await database.run(lambda connection: connection.execute(text(statement), {"secret": "the prompt"}))

    assert "the prompt" not in str(caught.value) + repr(caught.value) + caplog.text
    assert await database.run(lambda connection: connection.execute(text("SELECT 1")).scalar_one()) == 1


async def test_a_statement_is_prepared_once_for_each_kind_of_value(database: Database) -> None:
    def work(connection: Connection) -> list[object]:
        echo, nothing = text("SELECT CAST(:value AS text)"), text("SELECT 1")
        found = [connection.execute(echo, {"value": value}).scalar_one() for value in ("a", None, 5, 6, 2**40, 1.5)]
        found += [connection.execute(nothing).scalar_one() for _ in range(2)]
        prepared = text("SELECT parameter_types FROM pg_prepared_statements WHERE name ~ '^s' ORDER BY prepare_time")
        return [*found, *[str(row.parameter_types) for row in connection.execute(prepared)]]

    values = ["a", None, "5", "6", str(2**40), "1.5", 1, 1]
    assert await database.run(work) == [*values, "{text}", "{integer}", "{bigint}", "{numeric}", "{}", "{}"]


async def test_a_statement_of_a_list_is_not_prepared(database: Database) -> None:
    def work(connection: Connection) -> list[object]:
        echo = text("SELECT CAST(:value AS integer)")
        found = [connection.execute(echo, {"value": value}, is_prepared=False).scalar_one() for value in (1, 2)]
        prepared = text("SELECT count(*) FROM pg_prepared_statements")
        return [*found, connection.execute(prepared, is_prepared=False).scalar_one()]

    assert await database.run(work) == [1, 2, 0]


async def test_a_table_that_gains_a_column_is_read_with_it(database: Database) -> None:
    def read(connection: Connection) -> list[str]:
        return list(connection.execute(text("SELECT * FROM changing")).mappings().one())

    await database.run(lambda c: c.execute(text("CREATE TABLE changing AS SELECT 1 AS a")))
    assert await database.run(read) == ["a"]
    await database.run(lambda c: c.execute(text("ALTER TABLE changing ADD COLUMN b integer")))
    assert await database.run(read) == ["a", "b"]


async def test_plans_are_made_anew_after_a_while(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(connection: Connection) -> list[str]:
        connection.execute(text("CREATE TEMPORARY TABLE growing (id integer PRIMARY KEY)"))

        def plan() -> str:
            connection.execute(text("SELECT FROM growing WHERE id = :id"), {"id": 1})
            return str(connection.execute(text("EXPLAIN EXECUTE s0 (1)")).first()[0].split(" using ")[0])

        plans = [plan()]
        for setting in ("enable_seqscan = on", "enable_indexscan = off", "enable_bitmapscan = off"):
            connection.execute(text(f"SET LOCAL {setting}"))
        connection.execute(text("SET LOCAL enable_indexonlyscan = off"))
        plans.append(plan())
        monkeypatch.setattr("common.prepared.PLAN_SECONDS", -1.0)
        return [*plans, plan().split("  ")[0]]

    assert await database.run(work) == ["Index Only Scan", "Index Only Scan", "Seq Scan on growing"]
