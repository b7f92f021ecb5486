"""Planted bugs in what is told: stored events, streams, views."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.chaos.stores import Stores


def _lose_a_stored_event(stores: Stores) -> None:
    job_id = stores.completed()
    stores.refeed(lambda told: [one for one in told if one != [job_id, 2]])


def _lose_a_deleted_jobs_end(stores: Stores) -> None:
    job_id = stores.one("SELECT id FROM jobs WHERE deleted_at IS NOT NULL LIMIT 1")
    stores.refeed(lambda told: [one for one in told if one[0] != job_id])


def _publish_out_of_order(stores: Stores) -> None:
    job_id = stores.completed()

    def swapped(told: list[Any]) -> list[Any]:
        others = [one for one in told if one[0] != job_id]
        return [*others, *reversed([one for one in told if one[0] == job_id])]

    stores.refeed(swapped)


def _skip_a_change(stores: Stores) -> None:
    stores.promise(stores.completed(), heard=[1, 2, 4])


def _tell_a_change_twice(stores: Stores) -> None:
    stores.promise(stores.completed(), heard=[1, 2, 2, 3])


def _change_a_cost_without_an_event(stores: Stores) -> None:
    view = {"sequence": 4, "cost": {"amount_micros": 40_000}, "display": {"actions": []}}
    stores.promise(stores.completed(), seen=view, told={**view, "cost": {"amount_micros": None}})


def _offer_something_without_an_event(stores: Stores) -> None:
    view = {"sequence": 4, "display": {"actions": ["retry"]}}
    stores.promise(stores.completed(), seen=view, told={**view, "display": {"actions": ["retry_may_charge_again"]}})


def _have_no_event_at_all(stores: Stores) -> None:
    stores.promise(stores.completed(), told=None)


#: By the rule that must see them.
BUGS: Mapping[str, Sequence[Callable[[Stores], None]]] = {
    "every_event_is_published_in_order": (_lose_a_stored_event, _lose_a_deleted_jobs_end, _publish_out_of_order),
    "streams_have_no_gap": (_skip_a_change, _tell_a_change_twice),
    "what_is_seen_was_told": (
        _change_a_cost_without_an_event,
        _offer_something_without_an_event,
        _have_no_event_at_all,
    ),
}
