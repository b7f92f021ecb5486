"""A weighted semaphore that serves several lanes fairly."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from common.memory import paused_timeouts


@dataclass(eq=False, kw_only=True)
class Permit:
    """A permit of the semaphore, held or waited for."""

    #: The semaphore that it belongs to.
    semaphore: "FairSemaphore"
    #: Number of the lane in which it waits, from 0.
    lane: int
    #: Share of the semaphore's limit that it takes.
    weight: int
    #: Done once the permit is held.
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def release(self) -> None:
        """Gives the permit back."""
        self.semaphore.release(self)


class FairSemaphore:
    """Holds up to `slots` permits at once, with a total weight of up to `limit`.

    Each lane is served in order, and lanes take turns: many waiters in one lane do not delay another lane by more than
    one permit each time. The next permit waits until it fits; a smaller one does not overtake it.
    """

    def __init__(self, *, limit: int, slots: int, lanes: int) -> None:
        self.limit = limit
        self._slots = slots
        self._held: set[Permit] = set()
        self._waiting: tuple[deque[Permit], ...] = tuple(deque() for _ in range(lanes))
        self._next_lane = 0

    @property
    def held(self) -> int:
        """Total weight of the held permits."""
        return sum(permit.weight for permit in self._held)

    async def acquire(self, weight: int, *, lane: int) -> Permit:
        """Waits for a permit; its weight is capped at the limit. Clocks of `common.memory.timeout` stop meanwhile."""
        permit = Permit(semaphore=self, lane=lane, weight=min(weight, self.limit))
        self._waiting[lane].append(permit)
        self._serve()
        try:
            if not permit.granted.done():
                with paused_timeouts():
                    await permit.granted
        except asyncio.CancelledError:
            self.release(permit)
            raise
        return permit

    def release(self, permit: Permit) -> None:
        """Gives a held permit back, or withdraws one that waits."""
        if permit in self._held:
            self._held.remove(permit)
        elif permit in self._waiting[permit.lane]:
            self._waiting[permit.lane].remove(permit)
        self._serve()

    def _serve(self) -> None:
        while (waiting := self._next_waiting()) is not None:
            permit = waiting[0]
            if len(self._held) >= self._slots or self.held + permit.weight > self.limit:
                return
            waiting.popleft()
            self._held.add(permit)
            self._next_lane = permit.lane + 1
            if not permit.granted.done():
                permit.granted.set_result(None)

    def _next_waiting(self) -> deque[Permit] | None:
        """Returns the next lane in turn that has waiters."""
        count = len(self._waiting)
        lanes = (self._waiting[(self._next_lane + step) % count] for step in range(count))
        return next((lane for lane in lanes if lane), None)
