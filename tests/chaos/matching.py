"""Which purchase in the provider's books is which call of the ledger, and what became of it there."""

from tests.chaos.history import History, Promise, Row

#: Fates that the provider itself calls a failure: nothing was delivered, so it may be bought again.
NOT_DELIVERED = frozenset({"rate_limit", "refused", "invalid", "failed"})


def matched(history: History, promise: Promise) -> list[tuple[Row, Row | None]]:
    """Each purchase with the row of the ledger that allowed it: by operation id, else the last written before it."""
    free = list(history.calls.get(promise.id, ()))
    found: list[tuple[Row, Row | None]] = []
    purchases = history.purchases_of(promise)
    by_operation = {call["operation_id"]: call for call in free if call["operation_id"]}
    for purchase in purchases:
        if purchase["id"] in by_operation:
            free.remove(by_operation[purchase["id"]])
    for purchase in purchases:
        written = [one for one in free if _fits(one, purchase)]
        call = by_operation.get(purchase["id"]) or max(written, key=lambda one: one["created_at"], default=None)
        if call in free:
            free.remove(call)
        found.append((purchase, call))
    return found


def was_delivered(purchase: Row) -> bool:
    """Whether the provider made what was asked for, or may have."""
    return not bool(purchase["canceled_at"] or purchase["fate"] in NOT_DELIVERED)


def _fits(call: Row, purchase: Row) -> bool:
    is_older = call["created_at"].timestamp() <= purchase["time"]
    is_there = call["provider"] == purchase["shape"]
    return bool(is_older and is_there and len(call["image_indexes"]) == purchase["count"])
