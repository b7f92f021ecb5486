"""Actions that follow a transaction: they run once it is committed, and never if it is rolled back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.sql import Connection

_KEY = "after_commit"


def after_commit(connection: Connection, action: Callable[[], object]) -> None:
    """Has `Database.run` call `action` after COMMIT, in the thread of the transaction; its errors are logged."""
    connection.info.setdefault(_KEY, []).append(action)


def actions_of(connection: Connection) -> list[Callable[[], object]]:
    """Returns the actions of the transaction, to be called after its COMMIT."""
    actions: list[Callable[[], object]] = connection.info.get(_KEY, [])
    return actions


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Runs a part of a transaction that an exception undoes alone, with the actions that were to follow it."""
    actions: list[Callable[[], object]] = connection.info.setdefault(_KEY, [])
    kept = len(actions)
    try:
        with connection.begin_nested():
            yield
    except BaseException:
        del actions[kept:]
        raise
