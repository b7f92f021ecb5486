"""What a transaction sends together is still one transaction: whole, in order, and certain or not."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from sqlalchemy.exc import IntegrityError

from common.postgres import Database, DatabaseUnavailable
from common.sql import Connection, TransactionFailedError, text
from tests.support.patience import PATIENCE
from tests.support.servers.lost_connections import end_connections

ADD = text("INSERT INTO tenant_load (tenant) VALUES (:tenant)")
COUNT = text("SELECT count(*) FROM tenant_load")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Two connections; nothing times out on a busy machine."""
    milliseconds = int(PATIENCE * 1_000)
    database = Database(
        database_url,
        application="test",
        pool_size=2,
        statement_timeout_ms=milliseconds,
        lock_timeout_ms=milliseconds,
        queue_timeout_seconds=PATIENCE,
    )
    yield database
    await database.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Messages to the server, without those that prepare a statement."""
    send, messages = Connection._send, []

    def noted(self: Connection, command: bytes) -> object:
        messages.append(b";".join([*self._unsent, command]).decode())
        return send(self, command)

    monkeypatch.setattr(Connection, "_send", noted)
    return messages


async def count(database: Database) -> int:
    """Number of rows that were committed."""
    return int(await database.run(lambda c: c.execute(COUNT).scalar_one()))


async def test_begin_and_deferred_statements_have_no_message_of_their_own(database: Database, sent: list[str]) -> None:
    def work(connection: Connection) -> int:
        connection.defer(ADD, {"tenant": "a"})
        connection.defer(ADD, {"tenant": "b"})
        seen = connection.execute(COUNT).scalar_one()
        connection.defer(ADD, {"tenant": "c"})
        return int(seen)

    assert await database.run(work) == 2
    assert [message.count(";") + 1 for message in sent] == [4, 2]
    assert await count(database) == 3


async def test_a_unit_of_work_without_statements_sends_nothing(database: Database, sent: list[str]) -> None:
    await database.run(lambda c: None)

    assert sent == []


@pytest.mark.parametrize("reads_first", [True, False])
async def test_a_deferred_statement_that_fails_undoes_everything(database: Database, reads_first: bool) -> None:
    def work(connection: Connection) -> None:
        if reads_first:
            connection.execute(ADD, {"tenant": "a"})
        for _ in range(2):
            connection.defer(ADD, {"tenant": "twice"})

    with pytest.raises(IntegrityError):
        await database.run(work)

    assert await count(database) == 0


def twice(connection: Connection) -> None:
    """Adds a row that is there already, at some later time."""
    for _ in range(2):
        connection.defer(ADD, {"tenant": "twice"})


def raises(connection: Connection) -> None:
    """Fails without a statement that fails."""
    connection.defer(ADD, {"tenant": "never"})
    raise IntegrityError(None, None, ValueError())


@pytest.mark.parametrize("inner", [twice, raises])
async def test_a_savepoint_ends_after_its_deferred_statements(
    database: Database, inner: Callable[[Connection], None]
) -> None:
    def work(connection: Connection) -> None:
        connection.defer(ADD, {"tenant": "before"})
        with suppress(IntegrityError), connection.begin_nested():
            connection.execute(ADD, {"tenant": "within"})
            inner(connection)
        with suppress(IntegrityError), connection.begin_nested():
            inner(connection)
        with connection.begin_nested():
            pass
        with connection.begin_nested():
            connection.defer(ADD, {"tenant": "after"})

    await database.run(work)

    assert await count(database) == 2


async def test_a_savepoint_does_not_undo_what_was_deferred_before_it(database: Database) -> None:
    def work(connection: Connection) -> None:
        twice(connection)
        with connection.begin_nested():
            raise AssertionError("The error belongs before the savepoint.")

    with pytest.raises(IntegrityError):
        await database.run(work)


async def test_a_swallowed_error_is_no_commit(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(ADD, {"tenant": "a"})
        with pytest.raises(IntegrityError):
            connection.execute(ADD, {"tenant": "a"})

    with pytest.raises(TransactionFailedError):
        await database.run(work)

    assert await count(database) == 0


async def test_a_connection_that_is_lost_at_commit_is_not_used_again_for_the_same_work(
    database: Database, database_url: str
) -> None:
    tried = []

    def work(connection: Connection) -> None:
        tried.append(connection.execute(COUNT).scalar_one())
        connection.defer(ADD, {"tenant": "a"})
        end_connections(database_url)

    with pytest.raises(DatabaseUnavailable):
        await database.run(work)

    assert tried == [0]
    assert await count(database) == 0


async def test_deferred_work_on_a_connection_that_was_ended_while_it_was_idle_is_done(
    database: Database, database_url: str
) -> None:
    await database.ping()
    end_connections(database_url)

    await database.run(lambda c: c.defer(ADD, {"tenant": "a"}))

    assert await count(database) == 1


async def test_an_outdated_statement_that_fails_at_commit_is_run_again(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(COUNT)
        connection.defer(text("SELECT * FROM changing"))

    await database.run(lambda c: c.execute(text("CREATE TABLE changing AS SELECT 1 AS a")))
    await database.run(work)
    await database.run(lambda c: c.execute(text("ALTER TABLE changing ADD COLUMN b integer")))

    await database.run(work)
