"""Slots of attempts: slow endpoints have their own, so that they never take those of the others."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto

from services.notifier.domain.endpoints import SLOW_SHARE


class Share(Enum):
    """What an attempt counts against."""

    #: Endpoints that are not slow.
    NORMAL = auto()
    #: Endpoints that are slow.
    SLOW = auto()
    #: Attempts that take long although their endpoints were not slow: they hold up no others.
    OVERRUN = auto()


@dataclass(kw_only=True, eq=False)
class Slot:
    """A slot in use."""

    #: Whose attempt it is.
    tenant: str
    #: What it counts against.
    share: Share


class Slots:
    """A quarter of the slots is for slow endpoints, the rest for the others.

    An attempt that overruns gives its slot free, until there are as many such attempts as slots: then they count again.
    """

    def __init__(self, slots: int) -> None:
        self._slow = max(1, int(slots * SLOW_SHARE))
        self._normal = max(1, slots - self._slow)
        self._used: Counter[Share] = Counter()
        self._slow_of_tenant: Counter[str] = Counter()

    @property
    def used(self) -> int:
        """Number of attempts under way."""
        return self._used.total()

    def free(self, *, is_slow: bool) -> int:
        """Returns the number of free slots for endpoints that are slow, or for the others."""
        if is_slow:
            return max(0, self._slow - self._used[Share.SLOW])
        excess = max(0, self._used[Share.OVERRUN] - self._slow - self._normal)
        return max(0, self._normal - self._used[Share.NORMAL] - excess)

    def crowded(self) -> list[str]:
        """Returns the tenants that have a quarter or more of the slots for slow endpoints: others go first."""
        most = max(1, self._slow // 4)
        return [tenant for tenant, used in self._slow_of_tenant.items() if used >= most]

    def take(self, tenant: str, *, is_slow: bool) -> Slot:
        """Fills a slot."""
        slot = Slot(tenant=tenant, share=Share.SLOW if is_slow else Share.NORMAL)
        self._used[slot.share] += 1
        if is_slow:
            self._slow_of_tenant[tenant] += 1
        return slot

    def overrun(self, slot: Slot) -> bool:
        """Moves an attempt of an endpoint that was not slow; returns whether it was one."""
        if slot.share is not Share.NORMAL:
            return False
        self._used[slot.share] -= 1
        slot.share = Share.OVERRUN
        self._used[slot.share] += 1
        return True

    def give_back(self, slot: Slot) -> None:
        """Frees a slot."""
        self._used[slot.share] -= 1
        if slot.share is Share.SLOW:
            self._slow_of_tenant[slot.tenant] -= 1
            if not self._slow_of_tenant[slot.tenant]:
                del self._slow_of_tenant[slot.tenant]
