"""Planted bugs: each makes the real stores what such a bug would have left behind, and one rule must see it."""

from collections.abc import Callable, Mapping, Sequence

from cli.stack.embedded import BUCKET, STAGING_BUCKET
from tests.chaos import planted_at_peace, planted_at_receivers, planted_at_vendors, planted_in_words
from tests.chaos.stores import Stores


def _lose_a_job(stores: Stores) -> None:
    stores.sql("DELETE FROM jobs WHERE id = %(id)s", id=stores.completed())


def _end_a_job_twice(stores: Stores) -> None:
    stores.sql(
        """INSERT INTO job_events SELECT job_id, sequence + 1, type, state, occurred_at, snapshot FROM job_events
        WHERE job_id = %(id)s AND type = 'job.completed'""",
        id=stores.completed(),
    )


def _make_two_jobs_of_one_key(stores: Stores) -> None:
    stores.sql(
        """INSERT INTO jobs SELECT (jsonb_populate_record(jobs, '{"id": "job_second"}')).* FROM jobs
        WHERE id = %(id)s""",
        id=stores.completed(),
    )


def _lose_an_event(stores: Stores) -> None:
    stores.sql("DELETE FROM job_events WHERE job_id = %(id)s AND sequence = 2", id=stores.completed())


def _jump(stores: Stores) -> None:
    stores.sql(
        "UPDATE job_events SET state = 'uploading' WHERE job_id = %(id)s AND sequence = 2", id=stores.completed()
    )


def _move_without_an_event(stores: Stores) -> None:
    stores.sql("UPDATE jobs SET retry_count = retry_count + 1 WHERE id = %(id)s", id=stores.completed())


def _forget_to_publish(stores: Stores) -> None:
    stores.sql("INSERT INTO outbox (id, job_id, sequence) VALUES (gen_random_uuid(), %(id)s, 1)", id=stores.completed())


def _call_without_a_row(stores: Stores) -> None:
    stores.sql("ALTER TABLE artifacts DROP CONSTRAINT an_artifact_is_of_a_call_of_its_job")
    stores.sql("DELETE FROM provider_calls WHERE job_id = %(id)s", id=stores.completed())


def _write_a_call_down_late(stores: Stores) -> None:
    stores.sql(
        """UPDATE provider_calls SET created_at = created_at + interval '1 hour', operation_id = NULL
        WHERE job_id = %(id)s""",
        id=stores.completed(),
    )


def _cover_an_image_twice(stores: Stores) -> None:
    stores.sql("DROP INDEX an_image_is_bought_once")
    copy_a_call(stores)


def _buy_twice(stores: Stores) -> None:
    """The ledger says of the second that nothing was bought; the provider knows better."""
    job_id = stores.completed()
    prompt = stores.one("SELECT request ->> 'prompt' FROM jobs WHERE id = %(id)s", id=job_id)
    stores.sql("DROP INDEX an_image_is_bought_once")
    copy_a_call(stores)
    stores.sql("UPDATE provider_calls SET phase = 'not_sent' WHERE id = 'call_second'")
    count = stores.one("SELECT cardinality(image_indexes) FROM provider_calls WHERE id = 'call_second'")
    stores.book(prompt=prompt, id="op-second", fate="good", canceled=False, count=count, time=4e9)


def copy_a_call(stores: Stores) -> None:
    """A second call of a completed job, as `call_second`."""
    changes = '{"id": "call_second", "idempotency_key": "call_second", "operation_id": "op-second"}'
    stores.sql(
        """INSERT INTO provider_calls SELECT (jsonb_populate_record(call, %(changes)s)).* FROM provider_calls AS call
        WHERE job_id = %(id)s AND phase = 'succeeded' AND consent = 'none' LIMIT 1""",
        changes=changes,
        id=stores.completed(),
    )
    stores.sql(
        """INSERT INTO provider_call_images SELECT id, job_id, unnest(image_indexes), phase, false FROM provider_calls
        WHERE id = 'call_second'"""
    )


def _move_with_an_old_claim(stores: Stores) -> None:
    stores.sql(
        """UPDATE job_events SET snapshot = jsonb_set(snapshot, '{job,claim_number}', '0')
        WHERE job_id = %(id)s AND type = 'job.completed'""",
        id=stores.completed(),
    )


def _hold_a_job_twice(stores: Stores) -> None:
    stores.sql(
        """UPDATE attempts SET ended_at = ended_at + interval '1 hour'
        WHERE job_id = %(id)s AND claim_number = 1""",
        id=stores.completed(),
    )


def _miscount(stores: Stores) -> None:
    stores.sql(
        "UPDATE attempts SET counted = NOT counted WHERE job_id = %(id)s AND claim_number = 1", id=stores.completed()
    )


def _lose_a_picture(stores: Stores) -> None:
    stores.delete(BUCKET, stores.picture_of(stores.completed()))


def _spoil_a_picture(stores: Stores) -> None:
    stores.put(BUCKET, stores.picture_of(stores.completed()), b"other bytes")


def _show_somebody_elses_picture(stores: Stores) -> None:
    mine, other = stores.sql("SELECT id, sha256 FROM artifacts WHERE public_name IS NOT NULL ORDER BY id LIMIT 2")
    stores.sql("UPDATE artifacts SET sha256 = %(sha256)s WHERE id = %(id)s", id=mine[0], sha256=other[1])


def _skip_an_image(stores: Stores) -> None:
    job_id = stores.completed()
    stores.sql("UPDATE jobs SET image_count = 10, warnings = '[]' WHERE id = %(id)s", id=job_id)


def _show_a_canceled_jobs_picture(stores: Stores) -> None:
    job_id = stores.one("SELECT id FROM jobs WHERE state = 'canceled' LIMIT 1")
    stores.put(BUCKET, f"jobs/{job_id}/0-0123456789abcdef.png", b"a picture")


def _keep_a_deleted_jobs_prompt(stores: Stores) -> None:
    """As if the erasure had left the request where it was."""
    job_id = stores.one("SELECT id FROM jobs WHERE deleted_at IS NOT NULL LIMIT 1")
    stores.sql(
        """UPDATE jobs SET request = jsonb_build_object('prompt', %(prompt)s::text) WHERE id = %(id)s""",
        id=job_id,
        prompt=stores.prompts[job_id],
    )


def _forget_to_empty_a_folder(stores: Stores) -> None:
    stores.sql(
        """INSERT INTO deletions (id, job_id, bucket, prefix, due_at)
        VALUES ('del_1', %(id)s, 'staging', %(id)s || '/', now())
        ON CONFLICT (bucket, prefix) DO UPDATE SET seen_empty_at = NULL""",
        id=stores.completed(),
    )


def _charge_something_else(stores: Stores) -> None:
    stores.sql(
        "UPDATE provider_calls SET cost_micros = 1 WHERE job_id = %(id)s AND phase = 'succeeded'", id=stores.completed()
    )


def _tell_a_wrong_sum(stores: Stores) -> None:
    stores.sql(
        """UPDATE job_events SET snapshot = jsonb_set(snapshot, '{cost}', '{"amount_micros": 1, "complete": true}')
        WHERE job_id = %(id)s AND type = 'job.completed'""",
        id=stores.completed(),
    )


def _leave_a_call_open(stores: Stores) -> None:
    stores.sql(
        """UPDATE provider_calls SET phase = 'accepted', settled_at = NULL, operation_id = 'op'
        WHERE job_id = %(id)s AND phase = 'succeeded'""",
        id=stores.completed(),
    )


def _leave_something_in_staging(stores: Stores) -> None:
    stores.put(STAGING_BUCKET, f"{stores.completed()}/call_1/0", b"a picture")


#: By the rule that must see them.
BUGS: Mapping[str, Sequence[Callable[[Stores], None]]] = {
    "every_accepted_job_is_final": (_lose_a_job, _end_a_job_twice),
    "one_key_makes_one_job": (_make_two_jobs_of_one_key,),
    "paths_are_legal": (_lose_an_event, _jump),
    "events_tell_the_job": (_move_without_an_event, _forget_to_publish),
    "every_purchase_was_written_down_first": (_call_without_a_row, _write_a_call_down_late),
    "no_image_is_bought_twice": (_cover_an_image_twice, _buy_twice),
    "nobody_moved_a_job_after_losing_it": (_move_with_an_old_claim, _hold_a_job_twice),
    "attempts_are_counted_apart_from_retries": (_miscount,),
    "completed_jobs_have_their_pictures": (
        _lose_a_picture,
        _spoil_a_picture,
        _show_somebody_elses_picture,
        _skip_an_image,
    ),
    "what_is_gone_is_gone": (_show_a_canceled_jobs_picture, _keep_a_deleted_jobs_prompt, _forget_to_empty_a_folder),
    "costs_add_up": (_charge_something_else, _tell_a_wrong_sum),
    "no_call_stays_open": (_leave_a_call_open,),
    "staging_is_empty": (_leave_something_in_staging,),
    **planted_at_vendors.BUGS,
    **planted_in_words.BUGS,
    **planted_at_peace.BUGS,
    **planted_at_receivers.BUGS,
}
