"""How many calls to job-service are under way at once: a crowd waits for its turn, an outage is told at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from common.errors import ServiceError
from common.grpc_client import is_unavailable

#: Enough to keep job-service busy; each more would only make all of them slower, until none is in time.
PLACES = 32
#: A crowd that is served waits no longer than this.
LONGEST_SECONDS = 30.0
SHORTEST_SECONDS = 0.05
HEARING_SECONDS = 0.05


class ConcurrencyLimiter:
    """Gives places to calls in the order in which they came.

    Whoever waits does so for as long as calls get through. Once none did for the time that a single call has, the other
    side is away, and everybody hears it then, not one after the other.
    """

    def __init__(self, *, places: int = PLACES, longest: float = LONGEST_SECONDS) -> None:
        self._places = asyncio.Semaphore(places)
        self._longest = longest
        self._got_through = float("-inf")
        #: Calls that have a place now, and calls that wait for one.
        self.under_way = 0
        self.waiting = 0

    @asynccontextmanager
    async def place(self, seconds: float) -> AsyncIterator[float]:
        """Wait for a place; yields the seconds that the call may take, at most those given. Raises `ServiceError`."""
        self.waiting += 1
        try:
            came = await self._take(seconds)
        finally:
            self.waiting -= 1
        self.under_way += 1
        try:
            # When nothing gets through, the time that was spent waiting counts.
            yield max(SHORTEST_SECONDS, self._until(came, seconds) - _now())
        except ServiceError as error:
            if not is_unavailable(error):
                # A no is an answer, too: others need not give up.
                self._got_through = _now()
            raise
        else:
            self._got_through = _now()
        finally:
            self.under_way -= 1
            self._places.release()

    async def _take(self, seconds: float) -> float:
        """Keeps its turn while the end of its patience moves on; returns the time from which on it counts."""
        if not self._places.locked():
            await self._places.acquire()
            # In a rush this process may not come to sending before the call's time is over: what is ready goes first.
            try:
                await asyncio.sleep(0)
            except BaseException:
                # Whoever has gone meanwhile holds no place.
                self._places.release()
                raise
            return _now()
        came = _now()
        taking = asyncio.ensure_future(self._places.acquire())
        is_last_look = False
        try:
            while not taking.done():
                left = min(self._until(came, seconds), came + self._longest) - _now()
                if left <= 0 and is_last_look:
                    raise _crowded()
                # This process may have been too busy to hear the answers that are there: hear them first.
                is_last_look = left <= 0
                await asyncio.wait({taking}, timeout=max(left, HEARING_SECONDS))
        except BaseException:
            if not taking.cancel():
                self._places.release()
            raise
        return came

    def _until(self, came: float, seconds: float) -> float:
        return max(came, self._got_through) + seconds


def _now() -> float:
    return asyncio.get_running_loop().time()


def _crowded() -> ServiceError:
    return ServiceError(
        status=grpc.StatusCode.UNAVAILABLE,
        reason="SERVICE_UNAVAILABLE",
        message="The job service cannot take it at the moment; ask again.",
        retry_after_seconds=2,
    )
