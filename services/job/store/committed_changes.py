"""What each transaction changed, for listeners in the event loop, once it is committed.

This is for speed alone: a process that dies after COMMIT calls no listener, and other replicas are never called. The
outbox has every change.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from common.after_commit import after_commit
from common.postgres import Database
from common.sql import Connection
from services.job.domain.jobs import Snapshot
from services.job.store.outbox import Due

T = TypeVar("T")
_KEY = "announce_committed"


@dataclass(frozen=True, kw_only=True)
class CommittedChange:
    """A transition that is committed."""

    #: Its outbox row, with the contents of its event.
    due: Due
    #: The job after it, with request and lease, which its event has not.
    snapshot: Snapshot


#: Is called with the changes of a transaction; must neither block nor raise.
Listener = Callable[[Sequence[CommittedChange]], None]


class JobDatabase(Database):
    """The job store of a process, with listeners to what its transactions changed."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._listeners: list[Listener] = []

    def add_listener(self, listener: Listener) -> None:
        """Calls the listener in the event loop after each COMMIT that changed jobs, before `run` returns."""
        self._listeners.append(listener)

    async def run(self, work: Callable[[Connection], T], *, pool: str | None = None, attempts: int = 3) -> T:
        """Runs a unit of work as `Database.run` does."""
        loop = asyncio.get_running_loop()

        def announce(changes: Sequence[CommittedChange]) -> None:
            loop.call_soon_threadsafe(self._notify, changes)

        def work_and_note(connection: Connection) -> T:
            connection.info[_KEY] = announce
            return work(connection)

        return await super().run(work_and_note, pool=pool, attempts=attempts)

    def _notify(self, changes: Sequence[CommittedChange]) -> None:
        for listener in self._listeners:
            listener(changes)


def note(connection: Connection, changes: Sequence[CommittedChange]) -> None:
    """Has the listeners of the transaction's database called with changes once it is committed."""
    announce = connection.info.get(_KEY)
    if announce is not None:
        after_commit(connection, partial(announce, changes))
