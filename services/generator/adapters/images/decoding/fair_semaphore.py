"""Turns at something of which there is only so much: who does not fit waits, and nobody is overtaken for ever."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from common.memory import standing_clocks


@dataclass(eq=False, kw_only=True)
class Turn:
    """A part that somebody holds until `end`."""

    turns: "Turns"
    lane: int
    weight: int
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self) -> None:
        """Give the part back."""
        self.turns.give_back(self)


class Turns:
    """A weighted semaphore: at most `places` turns at once, which weigh at most `most` together.

    Each lane is served in the order of coming, and lanes in turn: a crowd in one keeps nobody in another waiting for
    all of it. The next in turn waits until it fits; nobody smaller goes before.
    """

    def __init__(self, *, most: int, places: int, lanes: int) -> None:
        self.most = most
        self._places = places
        self._held: set[Turn] = set()
        self._waiting: tuple[deque[Turn], ...] = tuple(deque() for _ in range(lanes))
        self._next_lane = 0

    @property
    def held(self) -> int:
        """The weight of all turns under way."""
        return sum(turn.weight for turn in self._held)

    async def take(self, weight: int, *, lane: int) -> Turn:
        """Wait for a turn of so much, at most of all; clocks of `common.memory.timeout` stand meanwhile."""
        turn = Turn(turns=self, lane=lane, weight=min(weight, self.most))
        self._waiting[lane].append(turn)
        self._serve()
        try:
            if not turn.granted.done():
                with standing_clocks():
                    await turn.granted
        except asyncio.CancelledError:
            self.give_back(turn)
            raise
        return turn

    def give_back(self, turn: Turn) -> None:
        """End a turn, or the wish for one."""
        if turn in self._held:
            self._held.remove(turn)
        elif turn in self._waiting[turn.lane]:
            self._waiting[turn.lane].remove(turn)
        self._serve()

    def _serve(self) -> None:
        while (waiting := self._lane_in_turn()) is not None:
            turn = waiting[0]
            if len(self._held) >= self._places or self.held + turn.weight > self.most:
                return
            waiting.popleft()
            self._held.add(turn)
            self._next_lane = turn.lane + 1
            if not turn.granted.done():
                turn.granted.set_result(None)

    def _lane_in_turn(self) -> deque[Turn] | None:
        count = len(self._waiting)
        lanes = (self._waiting[(self._next_lane + step) % count] for step in range(count))
        return next((lane for lane in lanes if lane), None)
