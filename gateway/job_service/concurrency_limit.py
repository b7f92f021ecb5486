"""Limits concurrent calls to a service (FIFO, 32 at once); fails all waiters at once when it is unreachable."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from calotype.error_reasons import Reason

from common.errors import ServiceError
from common.grpc_client import is_unavailable

#: Enough to keep the service busy; more calls at once would slow down each of them until none is in time.
SLOTS = 32
#: Longest wait for a slot while other calls succeed.
MAX_WAIT_SECONDS = 30.0
MIN_CALL_SECONDS = 0.05
#: Time in which the event loop handles responses that have arrived already.
SETTLE_SECONDS = 0.05


class ConcurrencyLimiter:
    """Gives slots to calls in the order of their arrival.

    A call waits for as long as other calls get responses. Once none did for the time limit of a single call,
    the service counts as unreachable, and all waiting calls fail at once rather than one after the other.
    """

    def __init__(
        self, *, service: str = "job service", slots: int = SLOTS, max_wait_seconds: float = MAX_WAIT_SECONDS
    ) -> None:
        #: What messages call the service.
        self._service = service
        self._slots = asyncio.Semaphore(slots)
        self._max_wait_seconds = max_wait_seconds
        #: Loop time of the last response from the service.
        self._last_response_at = float("-inf")
        #: Calls that have a slot.
        self.active = 0
        #: Calls that wait for a slot.
        self.waiting = 0

    @asynccontextmanager
    async def slot(self, seconds: float) -> AsyncIterator[float]:
        """Waits for a slot; yields the time limit of the call in seconds, at most `seconds`. Raises `ServiceError`."""
        self.waiting += 1
        try:
            counted_from = await self._acquire(seconds)
        finally:
            self.waiting -= 1
        self.active += 1
        try:
            # While the service does not respond, the time spent waiting counts towards the limit.
            yield max(MIN_CALL_SECONDS, self._deadline(counted_from, seconds) - _now())
        except ServiceError as error:
            if not is_unavailable(error):
                # An error response shows as well that the service is reachable.
                self._last_response_at = _now()
            raise
        else:
            self._last_response_at = _now()
        finally:
            self.active -= 1
            self._slots.release()

    async def _acquire(self, seconds: float) -> float:
        """Waits for a slot until the deadline, which moves on with each response of the service.

        Returns the loop time from which the call's time limit counts.
        """
        if not self._slots.locked():
            await self._slots.acquire()
            # Under load the loop may not send the request before its time is over: other ready tasks run first.
            try:
                await asyncio.sleep(0)
            except BaseException:
                # Canceled: a call that does not happen must not keep its slot.
                self._slots.release()
                raise
            return _now()
        arrived_at = _now()
        acquiring = asyncio.ensure_future(self._slots.acquire())
        is_last_check = False
        try:
            while not acquiring.done():
                remaining = min(self._deadline(arrived_at, seconds), arrived_at + self._max_wait_seconds) - _now()
                if remaining <= 0 and is_last_check:
                    raise _overloaded(self._service)
                # Responses may have arrived that the busy loop has not handled yet: let it do so before giving up.
                is_last_check = remaining <= 0
                await asyncio.wait({acquiring}, timeout=max(remaining, SETTLE_SECONDS))
        except BaseException:
            if not acquiring.cancel():
                self._slots.release()
            raise
        return arrived_at

    def _deadline(self, counted_from: float, seconds: float) -> float:
        return max(counted_from, self._last_response_at) + seconds


def _now() -> float:
    return asyncio.get_running_loop().time()


def _overloaded(service: str) -> ServiceError:
    return ServiceError(
        status=grpc.StatusCode.UNAVAILABLE,
        reason=Reason.SERVICE_UNAVAILABLE,
        message=f"The {service} is overloaded or cannot be reached right now. Try again.",
        retry_after_seconds=2,
    )
