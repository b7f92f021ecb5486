"""Requests that arrive while another one of their key is being committed share the next transaction.

Requests of one key wait for each other's locks, which last until the commit. One after the other, each would take as
long as the disk takes for a commit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.errors import DependencyUnavailable

Request = TypeVar("Request")
Result = TypeVar("Result")
#: Requests of one transaction.
MAX_GROUP = 32


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Request, Result]):
    """A request that waits for a transaction."""

    #: The request.
    request: Request
    #: Its result, or why there is none.
    result: "asyncio.Future[Result]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class GroupedRequests(Generic[Request, Result]):
    """Commits requests, each with the result that it would have alone.

    `alone` commits one request. `together` commits several in one transaction, and returns for each its result, the
    error that it raises, or None if it must be repeated alone, which then holds up no other. `first` commits a request
    that others will wait for, with such an outcome. `may_share` says which requests may share a transaction with
    another one; by default all.
    """

    def __init__(
        self,
        *,
        alone: Callable[[Request], Awaitable[Result]],
        together: Callable[[Sequence[Request]], Awaitable[Sequence[Result | Exception | None]]],
        first: Callable[[Request], Awaitable[Result | Exception | None]],
        may_share: Callable[[Request, Request], bool] = lambda first, other: True,
    ) -> None:
        self._alone = alone
        self._together = together
        self._first = first
        self._may_share = may_share
        # Waiting requests of each key with a request that is being committed.
        self._waiting: dict[str, list[_Waiting[Request, Result]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def commit(self, key: str, request: Request) -> Result:
        """Returns the result of a request; without another one of its key it is committed at once.

        Raises what `alone`, `together` and `first` raise.
        """
        if (waiting := self._waiting.get(key)) is not None:
            entry = _Waiting[Request, Result](request)
            waiting.append(entry)
            return await entry.result
        self._waiting[key] = []
        try:
            result = await self._first(request)
        finally:
            self._commit_next(key)
        if isinstance(result, Exception):
            raise result
        return await self._alone(request) if result is None else result

    def _commit_next(self, key: str) -> None:
        """Commits those that have waited; their callers may have gone."""
        waiting = [each for each in self._waiting.pop(key) if not each.result.done()]
        if not waiting:
            return
        first = waiting[0].request
        group = [each for each in waiting if self._may_share(first, each.request)][:MAX_GROUP]
        self._waiting[key] = [each for each in waiting if each not in group]
        self._start(self._commit(key, group))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        # In no caller's context: it belongs to several requests.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _commit(self, key: str, group: list[_Waiting[Request, Result]]) -> None:
        try:
            results = await self._together([each.request for each in group])
        except DependencyUnavailable as error:
            # It may have been committed.
            for each in group:
                _fail(each, error)
        except Exception:  # noqa: BLE001 - one of them may have caused it, so each has its own transaction
            for each in group:
                await self._commit_alone(each)
        else:
            self._resolve(group, results)
        finally:
            self._commit_next(key)

    def _resolve(
        self, group: Sequence[_Waiting[Request, Result]], results: Sequence[Result | Exception | None]
    ) -> None:
        for each, result in zip(group, results, strict=True):
            if result is None:
                # It waits for what others of its key do not need.
                self._start(self._commit_alone(each))
            elif isinstance(result, Exception):
                _fail(each, result)
            else:
                _succeed(each, result)

    async def _commit_alone(self, waiting: _Waiting[Request, Result]) -> None:
        try:
            result = await self._alone(waiting.request)
        except Exception as error:  # noqa: BLE001 - it is raised for the caller
            _fail(waiting, error)
        else:
            _succeed(waiting, result)


def _succeed(waiting: _Waiting[Request, Result], result: Result) -> None:
    if not waiting.result.done():
        waiting.result.set_result(result)


def _fail(waiting: _Waiting[Request, Result], error: Exception) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)
