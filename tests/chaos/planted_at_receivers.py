"""Planted bugs in what receivers of webhooks got, and in what the notifier has written down."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.chaos.stores import Stores

#: Of the tenant with most jobs; it gets all events.
STEADY = "steady-many"
#: Its endpoint has the scheme v1a.
SIGNED_BY_KEY = "v1a-steady-many"
#: Its name leads to a forbidden address now and then.
FLIPPING = "flipping-many"


def _requests(stores: Stores, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    stores.receive(lambda kept: {**kept, "requests": change(kept["requests"])})


def _job_of(request: Mapping[str, Any]) -> str | None:
    event = json.loads(request["body"])
    return event["data"]["id"] if event["type"].startswith("job.") else None


def _is_at(request: Mapping[str, Any], receiver: str, job_id: str) -> bool:
    return bool(request["receiver"] == receiver and _job_of(request) == job_id)


def _a_request(stores: Stores, receiver: str) -> dict[str, Any]:
    """The first that came there about a job that is not deleted. Raises `AssertionError` when there is none."""
    kept = {job_id for (job_id,) in stores.sql("SELECT id FROM jobs WHERE deleted_at IS NULL")}
    found = json.loads(stores.evidence.received.read_text(encoding="utf-8"))["requests"]
    chosen: list[dict[str, Any]] = [
        one for one in found if one["receiver"].startswith(receiver) and _job_of(one) in kept
    ]
    assert chosen, f"nothing came to {receiver}"
    return chosen[0]


def _again(stores: Stores, receiver: str, /, **changes: Any) -> None:
    """A copy of a request at the end."""
    copy = {**_a_request(stores, receiver), **changes}
    _requests(stores, lambda requests: [*requests, copy])


def _alter(stores: Stores, receiver: str, /, **changes: Any) -> None:
    """A request that came otherwise."""
    first = _a_request(stores, receiver)
    _requests(stores, lambda requests: [{**one, **changes} if one == first else one for one in requests])


def _lose_a_delivery(stores: Stores) -> None:
    job_id = _a_completed_job(stores)
    _requests(stores, lambda requests: [one for one in requests if not _is_at(one, STEADY, job_id)])


def _give_up_a_delivery(stores: Stores) -> None:
    """It was tried, and never acknowledged."""
    job_id = _a_completed_job(stores)
    failed = {"did": "error"}
    _requests(stores, lambda requests: [{**one, **failed} if _is_at(one, STEADY, job_id) else one for one in requests])


def _forget_a_callback(stores: Stores) -> None:
    path = _a_request(stores, "callback")["path"]
    _requests(stores, lambda requests: [one for one in requests if one["path"] != path])


def _deliver_an_event_that_never_was(stores: Stores) -> None:
    event = json.loads(_a_request(stores, STEADY)["body"])
    event["data"]["sequence"] += 100
    _again(stores, STEADY, body=json.dumps(event))


def _deliver_a_type_that_is_not_listed(stores: Stores) -> None:
    def without_types(kept: dict[str, Any]) -> dict[str, Any]:
        listed = {"event_types": ["job.settled"]}
        endpoints = [{**one, **listed} if one["receiver"] == STEADY else one for one in kept["endpoints"]]
        return {**kept, "endpoints": endpoints}

    stores.receive(without_types)


def _change_an_id(stores: Stores) -> None:
    request = _a_request(stores, STEADY)
    _again(stores, STEADY, headers=request["headers"] | {"webhook-id": "msg_other"})


def _share_an_id(stores: Stores) -> None:
    request = _a_request(stores, STEADY)
    _alter(stores, "flaky-many", headers=request["headers"])


def _deliver_out_of_order(stores: Stores) -> None:
    event = json.loads(_a_request(stores, STEADY)["body"])
    event["data"]["sequence"] -= 1
    _again(stores, STEADY, body=json.dumps(event))


def _change_a_body(stores: Stores) -> None:
    request = _a_request(stores, STEADY)
    _alter(stores, STEADY, body=request["body"] + " ")


def _sign_with_anothers_secret(stores: Stores) -> None:
    def swapped(kept: dict[str, Any]) -> dict[str, Any]:
        shared = [one for one in kept["endpoints"] if one["scheme"] == "v1"]
        others = {mine["id"]: other["secret"] for mine, other in zip(shared, [*shared[1:], shared[0]], strict=True)}
        endpoints = [{**one, "secret": others.get(one["id"], one["secret"])} for one in kept["endpoints"]]
        return {**kept, "endpoints": endpoints}

    stores.receive(swapped)


def _sign_with_another_private_key(stores: Stores) -> None:
    """At an endpoint with a public key, and at no other."""
    written = f"whpk_{base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()}"
    _a_request(stores, SIGNED_BY_KEY)

    def changed(kept: dict[str, Any]) -> dict[str, Any]:
        endpoints = [{**one, "secret": written} if one["scheme"] == "v1a" else one for one in kept["endpoints"]]
        return {**kept, "endpoints": endpoints}

    stores.receive(changed)


def _change_a_body_that_a_private_key_signed(stores: Stores) -> None:
    _alter(stores, SIGNED_BY_KEY, body=_a_request(stores, SIGNED_BY_KEY)["body"] + " ")


def _replay_an_old_request(stores: Stores) -> None:
    _again(stores, STEADY, at=_a_request(stores, STEADY)["at"] + 3600.0)


def _send_to_another_tenant(stores: Stores) -> None:
    _alter(stores, STEADY, receiver="flaky-some")


def _send_a_notice_to_another_tenant(stores: Stores) -> None:
    def swapped(kept: dict[str, Any]) -> dict[str, Any]:
        mine, theirs = (
            next(one for one in kept["endpoints"] if one["tenant"] == tenant) for tenant in ("many", "some")
        )
        request = next(one for one in kept["requests"] if one["receiver"] == mine["receiver"])
        body = json.dumps({"type": "webhook.degraded", "data": {"webhook": {"id": theirs["id"]}}})
        return {**kept, "requests": [*kept["requests"], {**request, "body": body}]}

    stores.receive(swapped)


def _call_another_jobs_url(stores: Stores) -> None:
    _again(stores, "callback", path=_other_path(stores))


def _follow_a_redirect(stores: Stores) -> None:
    stores.receive(lambda kept: {**kept, "forbidden": ["1 connections came to an address that nobody names."]})


def _connect_where_a_name_led(stores: Stores) -> None:
    """As if the address had been checked by one lookup, and taken from another."""
    _a_request(stores, FLIPPING)

    def connected(kept: dict[str, Any]) -> dict[str, Any]:
        rows = [json.loads(row) for row in kept["tables"]["webhook_attempts"]]
        assert any(row["error"] == "blocked_address" for row in rows), "no name led to a forbidden address"
        changed = [{**row, "error": "connect"} if row["error"] == "blocked_address" else row for row in rows]
        return {**kept, "tables": {**kept["tables"], "webhook_attempts": [json.dumps(row) for row in changed]}}

    stores.receive(connected)


def _keep_a_prompt(stores: Stores) -> None:
    prompt = next(iter(stores.prompts.values()))

    def written(kept: dict[str, Any]) -> dict[str, Any]:
        first, *others = kept["tables"]["webhook_deliveries"]
        rows = [json.dumps({**json.loads(first), "data": {"prompt": prompt}}), *others]
        return {**kept, "tables": {**kept["tables"], "webhook_deliveries": rows}}

    stores.receive(written)


def _a_completed_job(stores: Stores) -> str:
    """A job of the tenant with the steady receiver whose last end is its completion."""
    return str(
        stores.one(
            """SELECT id FROM jobs WHERE tenant = 'many' AND state = 'completed' AND deleted_at IS NULL
            ORDER BY created_at DESC LIMIT 1"""
        )
    )


def _other_path(stores: Stores) -> str:
    """A callback URL's path of another job than that of the first request."""
    first = _a_request(stores, "callback")
    promises = json.loads(stores.evidence.promises.read_text(encoding="utf-8"))
    found = [f"/{one['key']}" for one in promises if one["callback"] and f"/{one['key']}" != first["path"]]
    assert found, "only one job has a callback URL"
    return found[0]


#: By the rule that must see them.
BUGS: Mapping[str, Sequence[Callable[[Stores], None]]] = {
    "every_final_event_is_delivered": (_lose_a_delivery, _give_up_a_delivery, _forget_a_callback),
    "only_what_was_to_be_delivered_is": (_deliver_an_event_that_never_was, _deliver_a_type_that_is_not_listed),
    "a_delivery_has_one_id": (_change_an_id, _share_an_id),
    "events_of_a_job_come_in_order": (_deliver_out_of_order,),
    "every_request_is_signed": (
        _change_a_body,
        _sign_with_anothers_secret,
        _replay_an_old_request,
        _sign_with_another_private_key,
        _change_a_body_that_a_private_key_signed,
    ),
    "nobody_gets_what_is_anothers": (
        _send_to_another_tenant,
        _send_a_notice_to_another_tenant,
        _call_another_jobs_url,
    ),
    "nothing_goes_to_a_forbidden_address": (_follow_a_redirect, _connect_where_a_name_led),
    "the_notifier_keeps_no_prompt": (_keep_a_prompt,),
}
