"""Slots of attempts: each share has its own, so that no kind of endpoints takes those of another."""

from collections import Counter
from dataclasses import dataclass
from functools import partial

from common.telemetry import metrics, registry
from services.notifier.domain.endpoints import NEW_PART, SLOW_PART, SlotShare

#: Part of the slots of the slow or new share from which on a tenant lets others go first.
CROWDED_PART = 0.25


@dataclass(kw_only=True, eq=False)
class AttemptSlot:
    """A slot in use."""

    #: Whose attempt it is.
    tenant: str
    #: Share of the endpoint.
    share: SlotShare
    #: Whether the attempt takes long, and counts against the overruns of its share instead.
    has_overrun: bool = False


class Slots:
    """Slots by share.

    An attempt that overruns gives its slot free, so that receivers that begin to hang hold up no others of their share.
    As many as there are slots may overrun, half as many of new endpoints, and none of slow ones.
    """

    def __init__(self, slots: int) -> None:
        slow, new = max(1, int(slots * SLOW_PART)), max(1, int(slots * NEW_PART))
        self._slots = {SlotShare.NORMAL: max(1, slots - slow - new), SlotShare.NEW: new, SlotShare.SLOW: slow}
        self._overruns = {SlotShare.NORMAL: slots, SlotShare.NEW: slots // 2, SlotShare.SLOW: 0}
        self._used: Counter[SlotShare] = Counter()
        self._overrun: Counter[SlotShare] = Counter()
        self._of_tenant: Counter[tuple[SlotShare, str]] = Counter()
        for share in SlotShare:
            metrics.read(registry.WEBHOOK_FREE_SLOTS, partial(self.free, share), share.value)

    @property
    def used(self) -> int:
        """Number of attempts under way."""
        return self._used.total() + self._overrun.total()

    def free(self, share: SlotShare) -> int:
        """Returns the number of free slots of a share."""
        return self._slots[share] - self._used[share]

    def crowded(self, share: SlotShare) -> list[str]:
        """Returns the tenants that let others go first; none for endpoints that work."""
        if share is SlotShare.NORMAL:
            return []
        most = max(1, self._slots[share] * CROWDED_PART)
        return [tenant for (of, tenant), used in self._of_tenant.items() if of is share and used >= most]

    def take(self, tenant: str, share: SlotShare) -> AttemptSlot:
        """Fills a slot."""
        self._count(slot := AttemptSlot(tenant=tenant, share=share), 1)
        return slot

    def overrun(self, slot: AttemptSlot) -> bool:
        """Frees the slot of an attempt that takes long; returns False if too many do."""
        if slot.has_overrun or self._overrun[slot.share] >= self._overruns[slot.share]:
            return False
        self._count(slot, -1)
        slot.has_overrun = True
        self._overrun[slot.share] += 1
        return True

    def give_back(self, slot: AttemptSlot) -> None:
        """Frees a slot when the attempt has ended."""
        if slot.has_overrun:
            self._overrun[slot.share] -= 1
        else:
            self._count(slot, -1)

    def _count(self, slot: AttemptSlot, change: int) -> None:
        self._used[slot.share] += change
        self._of_tenant[slot.share, slot.tenant] += change
        if not self._of_tenant[slot.share, slot.tenant]:
            del self._of_tenant[slot.share, slot.tenant]
