"""Planted bugs in shares, rescues, and what is left at peace."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from cli.stack.embedded import BUCKET, STAGING_BUCKET
from tests.chaos.evidence import Struck
from tests.chaos.stores import Stores

A_STRANGERS_PICTURE = "jobs/job_0123456789abcdef0123456789abcdef/0-0123456789abcdef.png"


def _publish_a_picture_of_nobody(stores: Stores) -> None:
    stores.put(BUCKET, A_STRANGERS_PICTURE, b"a picture")


def _publish_a_second_picture_of_a_job(stores: Stores) -> None:
    stores.put(BUCKET, f"jobs/{stores.completed()}/0-0123456789abcdef.png", b"a picture")


def _publish_a_picture_late(stores: Stores) -> None:
    later = stores.evidence.read_peace().later
    stores.observe(later={**later, BUCKET: [*later[BUCKET], A_STRANGERS_PICTURE]})


def _stage_a_picture_late(stores: Stores) -> None:
    later = stores.evidence.read_peace().later
    stores.observe(later={**later, STAGING_BUCKET: [*later[STAGING_BUCKET], f"{stores.completed()}/call_1/0"]})


def _pass_a_tenant_by(stores: Stores) -> None:
    """One tenant's only job waits through the whole run, and all others are another's, who has much under way."""
    stores.sql("DELETE FROM chaos_breakers")
    stores.sql("UPDATE attempts SET ended_at = ended_at + interval '1 hour' WHERE stage = 'generating'")
    patient = stores.one(
        """SELECT id FROM jobs WHERE provider = 'sync' AND state = 'completed' AND deleted_at IS NULL
        ORDER BY started_at DESC LIMIT 1"""
    )
    stores.sql("UPDATE jobs SET tenant = CASE WHEN id = %(id)s THEN 'few' ELSE 'many' END", id=patient)
    stores.sql(
        """UPDATE job_events SET occurred_at = occurred_at - interval '1 hour',
            snapshot = jsonb_set(snapshot, '{job,run_at}', to_jsonb(occurred_at - interval '1 hour'))
        WHERE job_id = %(id)s AND sequence = 1""",
        id=patient,
    )


def _claim_beyond_a_quota(stores: Stores) -> None:
    stores.sql("UPDATE jobs SET tenant = 'some'")
    stores.sql("UPDATE attempts SET ended_at = ended_at + interval '1 hour' WHERE stage = 'generating'")


def _accept_beyond_a_quota(stores: Stores) -> None:
    stores.sql("UPDATE jobs SET tenant = 'few'")
    stores.sql("UPDATE job_events SET occurred_at = occurred_at + interval '1 hour' WHERE sequence > 1")


def _rob_a_live_worker(stores: Stores) -> None:
    stores.observe(struck=())
    stores.sql("UPDATE attempts SET outcome = 'rescued' WHERE job_id = %(id)s", id=stores.completed())


def _rescue_a_job_for_the_clock(stores: Stores) -> None:
    """The database's clock was set, and nothing else had happened."""
    job_id = stores.completed()
    ended_at = stores.one("SELECT max(ended_at) FROM attempts WHERE job_id = %(id)s", id=job_id)
    at = ended_at - timedelta(seconds=1)
    stores.observe(struck=[Struck(fault="clock forward", victims=["clock"], at=at, until=at)])
    stores.sql("UPDATE attempts SET outcome = 'rescued' WHERE job_id = %(id)s", id=job_id)


def _rescue_a_job_twice_for_one_fault(stores: Stores) -> None:
    job_id = stores.completed()
    ended_at = stores.one("SELECT max(ended_at) FROM attempts WHERE job_id = %(id)s", id=job_id)
    at = ended_at - timedelta(seconds=1)
    stores.observe(struck=[Struck(fault="kill generator", victims=["generator-1"], at=at, until=ended_at)])
    stores.sql(
        "UPDATE attempts SET outcome = 'rescued', ended_at = %(at)s WHERE job_id = %(id)s", id=job_id, at=ended_at
    )


def _keep_a_slot(stores: Stores) -> None:
    stores.observe(busy={"generator-1": 1})


def _leak_threads(stores: Stores) -> None:
    stores.observe(threads={"uploader-2": 1000})


def _keep_a_transaction_open(stores: Stores) -> None:
    stores.observe(idle_transactions=1)


def _leave_a_fact_unfolded(stores: Stores) -> None:
    stores.observe(facts={"stored": 1, "not acknowledged": 1})


def _never_empty_a_queue(stores: Stores) -> None:
    stores.observe(drained={"deletions": None})


def _empty_a_queue_slowly(stores: Stores) -> None:
    stores.observe(drained={"outbox": 3600.0})


#: By the rule that must see them.
BUGS: Mapping[str, Sequence[Callable[[Stores], None]]] = {
    "public_objects_are_of_jobs": (
        _publish_a_picture_of_nobody,
        _publish_a_second_picture_of_a_job,
        _publish_a_picture_late,
        _stage_a_picture_late,
    ),
    "tenants_share_what_is_scarce": (_pass_a_tenant_by,),
    "tenants_keep_their_quotas": (_claim_beyond_a_quota, _accept_beyond_a_quota),
    "a_fault_costs_one_claim": (_rob_a_live_worker, _rescue_a_job_for_the_clock, _rescue_a_job_twice_for_one_fault),
    "nothing_is_held_at_peace": (_keep_a_slot, _leak_threads, _keep_a_transaction_open),
    "every_fact_is_folded": (_leave_a_fact_unfolded,),
    "queues_drain_in_time": (_never_empty_a_queue, _empty_a_queue_slowly),
}
