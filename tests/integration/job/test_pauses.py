"""What operators pause is not claimed, and nothing is lost by it: jobs wait without failing, and held ones go on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from calotype import streams
from calotype.error_reasons import Reason
from calotype.ops.v1 import job_admin_service_pb2 as admin
from calotype.ops.v1 import job_admin_service_pb2_grpc

from common.errors import ServiceError
from common.grpc_client import call, channel
from common.grpc_server import serve
from common.health import Readiness
from common.loops import pause_until
from common.postgres import Database
from common.sql import Connection
from services.job.application import pauses, stale_jobs
from services.job.domain.pauses import NEVER, PauseKind
from services.job.domain.refusals import Refusal
from services.job.domain.states import State
from services.job.grpc_api.job_admin_service import RESUME_WAKE_UPS, JobAdminService
from services.job.loops.outbox_relay import OutboxRelay
from services.job.store import claim_locks
from services.job.store import pauses as store
from tests.support.brokers.facts import broker_at
from tests.support.job_service.many_jobs import copy, rows_read
from tests.support.job_service.use_cases import JobUseCases, failed, generated, open_transaction
from tests.support.patience import PATIENCE


def pause(desk: JobUseCases, kind: PauseKind, name: str = "", *, note: str = "") -> None:
    """Pauses as an operator."""
    desk.run(lambda c: pauses.pause(c, kind, name, note=note, by="ops"))


def resume(desk: JobUseCases, kind: PauseKind, name: str = "") -> bool:
    """Resumes as an operator."""
    return desk.run(lambda c: pauses.resume(c, kind, name))


def claimed(desk: JobUseCases, count: int = 8) -> set[str]:
    """Ids of the jobs that a claim gets."""
    return {found.job.id for found in desk.claim(count)}


def monitored(desk: JobUseCases) -> dict[str, int]:
    """One round of the stale-job monitor."""

    def work(connection: Connection) -> dict[str, int]:
        noted = stale_jobs.candidates(connection, desk.limits)
        changes = stale_jobs.rescue(connection, noted, limits=desk.limits)
        return dict(Counter(str(change.transition) for change in changes))

    return desk.run(work)


@pytest.mark.parametrize(
    ("kind", "name"), [(PauseKind.PROVIDER, "paid"), (PauseKind.TENANT, "acme"), (PauseKind.QUEUE, "")]
)
def test_what_is_paused_is_not_claimed_until_it_is_resumed(desk: JobUseCases, kind: PauseKind, name: str) -> None:
    held = desk.create(provider="paid").job.id
    pause(desk, kind, name)
    later = desk.create(provider="paid").job.id
    other = desk.create(tenant="other").job.id

    assert claimed(desk) == (set() if kind is PauseKind.QUEUE else {other})
    assert resume(desk, kind, name)
    assert {held, later} <= claimed(desk)
    assert not resume(desk, kind, name)


def test_a_tenant_with_jobs_at_a_generator_is_paused_too(desk: JobUseCases) -> None:
    desk.create()
    assert len(claimed(desk)) == 1
    desk.create()
    pause(desk, PauseKind.TENANT, "acme")
    assert claimed(desk) == set()


def test_jobs_of_a_paused_provider_go_to_their_fallback(desk: JobUseCases) -> None:
    pause(desk, PauseKind.PROVIDER, "paid")
    desk.create(provider="paid", fallback=("procedural",))
    [found] = desk.claim()
    assert [route.provider for route in found.routes] == ["procedural"]

    resume(desk, PauseKind.PROVIDER, "paid")
    pause(desk, PauseKind.PROVIDER, "procedural")
    desk.create(provider="paid", fallback=("procedural",))
    [found] = desk.claim()
    assert [route.provider for route in found.routes] == ["paid"]


def test_held_jobs_open_calls_and_uploads_go_on(desk: JobUseCases) -> None:
    job, bought = desk.generate(provider="paid")
    desk.create()
    [uploading_claim] = desk.claim(only=["procedural"])
    free_call = desk.begin(uploading_claim.job)
    pause(desk, PauseKind.QUEUE)
    desk.apply(generated(desk.job(uploading_claim.job.id), free_call))
    assert [found.job.id for found in desk.claim_uploads()] == [uploading_claim.job.id]

    # A job that is released with an accepted call is followed, which buys nothing.
    desk.sql(
        "UPDATE provider_calls SET phase = 'accepted', operation_id = 'op', accepted_at = now() WHERE id = :id",
        id=bought.id,
    )
    desk.release(job)
    desk.create(provider="paid")
    assert claimed(desk) == {job.id}
    # The failure of a held job puts it back, where it waits.
    desk.apply(failed(desk.job(job.id)))
    assert desk.job(job.id).state is State.QUEUED


def test_a_paused_job_does_not_fail_by_the_longest_time_in_the_queue(desk: JobUseCases) -> None:
    job = desk.create(provider="paid").job.id
    pause(desk, PauseKind.PROVIDER, "paid")
    desk.sql("UPDATE jobs SET queued_at = now() - interval '3 days' WHERE id = :id", id=job)
    assert monitored(desk) == {}
    resume(desk, PauseKind.PROVIDER, "paid")
    assert monitored(desk) == {}

    # Nor does the pause count once it was claimed.
    [found] = desk.claim()
    assert found.job.queued_seconds < 60
    desk.apply(failed(found.job))
    assert monitored(desk) == {}
    desk.sql("UPDATE pauses SET resumed_at = now() - interval '2 days'")
    desk.sql("UPDATE jobs SET queued_at = now() - interval '3 days' WHERE id = :id", id=job)
    assert monitored(desk) == {"job.failed": 1}


def test_a_jobs_own_deadline_passes_during_a_pause(desk: JobUseCases) -> None:
    job = desk.create(provider="paid", start_within_seconds=60).job.id
    pause(desk, PauseKind.QUEUE)
    desk.sql("UPDATE jobs SET start_by = now() - interval '1 second' WHERE id = :id", id=job)
    assert monitored(desk) == {"job.failed": 1}


def test_a_refused_credential_fails_no_job_while_its_provider_is_paused(desk: JobUseCases) -> None:
    desk.create(provider="paid")
    desk.sql(
        "INSERT INTO breakers (provider, model, failures, code, reason, opened_at, open_until)"
        " VALUES ('paid', 'flux', 9, 'AUTH_ERROR', 'PROVIDER_AUTH', now() - interval '2 days', now())"
    )
    desk.sql("UPDATE jobs SET queued_at = now() - interval '23 hours'")
    pause(desk, PauseKind.PROVIDER, "paid")
    assert monitored(desk) == {}
    resume(desk, PauseKind.PROVIDER, "paid")
    assert monitored(desk) == {}
    desk.sql("UPDATE pauses SET resumed_at = now() - interval '1 day'")
    assert monitored(desk) == {"job.failed": 1}


def test_a_repeated_pause_changes_the_note_and_keeps_its_begin(desk: JobUseCases) -> None:
    pause(desk, PauseKind.TENANT, "nobody-yet", note="first")
    [first] = desk.run(store.read).active()
    pause(desk, PauseKind.TENANT, "nobody-yet", note="second")
    [second] = desk.run(store.read).active()

    assert (first.id, first.note, first.paused_by) == ("tenant/nobody-yet", "first", "ops")
    assert (second.note, second.paused_at) == ("second", first.paused_at)
    resume(desk, PauseKind.TENANT, "nobody-yet")
    assert desk.run(store.read).active() == []
    pause(desk, PauseKind.TENANT, "nobody-yet")
    [again] = desk.run(store.read).active()
    assert again.paused_at > first.paused_at


@pytest.mark.parametrize(
    ("kind", "name", "note", "reason"),
    [
        (PauseKind.PROVIDER, "unknown", "", Reason.NOT_FOUND),
        (PauseKind.QUEUE, "x", "", Reason.INVALID_INPUT),
        (PauseKind.TENANT, "", "", Reason.INVALID_INPUT),
        (PauseKind.TENANT, "acme", "n" * 501, Reason.INVALID_INPUT),
        (PauseKind.TENANT, "acme", "a\nb", Reason.INVALID_INPUT),
    ],
)
def test_wrong_names_and_notes_are_refused(
    desk: JobUseCases, kind: PauseKind, name: str, note: str, reason: Reason
) -> None:
    with pytest.raises(Refusal) as refusal:
        pause(desk, kind, name, note=note)
    assert refusal.value.reason == reason
    assert desk.sql("SELECT 1 FROM pauses") == []


def test_there_is_a_most_of_pauses(desk: JobUseCases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "MAX_PAUSES", 2)
    for number in range(2):
        pause(desk, PauseKind.TENANT, f"t{number}")
    with pytest.raises(Refusal, match="At most 2"):
        pause(desk, PauseKind.TENANT, "t2")
    resume(desk, PauseKind.TENANT, "t0")
    pause(desk, PauseKind.TENANT, "t2")


def test_a_pause_waits_for_the_claims_that_do_not_know_of_it(desk: JobUseCases) -> None:
    with open_transaction(desk, claim_locks.lock_claiming):
        loop = asyncio.new_event_loop()
        pausing = loop.run_in_executor(None, lambda: pause(desk, PauseKind.QUEUE))
        desk.await_blocked()
        assert desk.sql("SELECT 1 FROM pauses") == []
    loop.run_until_complete(pausing)
    loop.close()
    assert len(desk.sql("SELECT 1 FROM pauses")) == 1


def test_ended_pauses_are_forgotten_when_no_job_waits_from_before(desk: JobUseCases) -> None:
    for name in ("old", "new", "active"):
        pause(desk, PauseKind.TENANT, name)
    for name in ("old", "new"):
        resume(desk, PauseKind.TENANT, name)
    desk.sql("UPDATE pauses SET resumed_at = now() - interval '3 days' WHERE name = 'old'")

    assert desk.run(lambda c: store.forget(c, seconds=2 * 86_400)) == 1
    known = desk.run(store.read)
    job = desk.job(desk.create(tenant="active").job.id)
    assert ([found.name for found in known.known], known.held_until(job)) == (["new", "active"], NEVER)


def test_what_a_claim_reads_does_not_grow_with_the_jobs_that_are_held(desk: JobUseCases) -> None:
    held = desk.create(provider="paid").job.id
    for tenant in ("t1", "t2"):
        copy(desk, held, 3_000, name=tenant, changes=f'{{"tenant": "{tenant}", "provider": "paid"}}')
        desk.sql(
            "INSERT INTO lanes (tenant, provider, model, fallback) VALUES (:tenant, 'paid', 'flux', '{}')",
            tenant=tenant,
        )
    desk.create(tenant="other", provider="procedural")
    desk.sql("ANALYZE jobs, lanes")
    pause(desk, PauseKind.PROVIDER, "paid")
    read, found = rows_read(desk, lambda connection: desk.on(connection).claim(1))
    assert len(found) == 1
    assert read < 100

    resume(desk, PauseKind.PROVIDER, "paid")
    for tenant in ("t1", "t2", "acme"):
        pause(desk, PauseKind.TENANT, tenant)
    read, found = rows_read(desk, lambda connection: desk.on(connection).claim(1))
    assert found == []
    assert read < 100


@pytest.fixture
async def service(desk: JobUseCases, database_url: str, nats_url: str) -> AsyncIterator[tuple[Any, Any]]:
    """The service over the wire, and its broker."""
    database = Database(database_url, application="test", pool_size=2)
    async with broker_at(nats_url) as broker:
        served = JobAdminService(database, OutboxRelay(database, broker), public_base_url="http://pictures.test/")
        listening = serve("127.0.0.1:0", [served.grpc_service()], ready=Readiness())
        async with listening as port, channel(f"127.0.0.1:{port}") as opened:
            yield job_admin_service_pb2_grpc.JobAdminServiceStub(opened), broker
    await database.close()


async def test_operators_pause_list_and_resume_over_grpc(service: tuple[Any, Any]) -> None:
    stub, broker = service
    request = admin.PauseRequest(kind=admin.PAUSE_KIND_PROVIDER, name="paid", note="new key", principal="ops")
    paused = (await call(stub.Pause, request, timeout=PATIENCE)).pause
    listed = await call(stub.ListPauses, admin.ListPausesRequest(), timeout=PATIENCE)

    assert [*listed.pauses] == [paused]
    assert (paused.id, paused.note, paused.paused_by) == ("provider/paid", "new key", "ops")
    assert paused.paused_at.seconds > 0
    _, before = await broker.sequences(streams.WORK["name"])
    ended = admin.ResumeRequest(kind=admin.PAUSE_KIND_PROVIDER, name="paid")
    assert (await call(stub.Resume, ended, timeout=PATIENCE)).resumed
    # Wake-ups are published without waiting for their confirmation.
    async with asyncio.timeout(PATIENCE):
        while (await broker.sequences(streams.WORK["name"]))[1] - before < RESUME_WAKE_UPS:
            await pause_until(asyncio.Event(), seconds=0.02)
    assert not (await call(stub.Resume, ended, timeout=PATIENCE)).resumed
    with pytest.raises(ServiceError) as refusal:
        await call(stub.Pause, admin.PauseRequest(name="paid", principal="ops"), timeout=PATIENCE)
    assert refusal.value.reason == Reason.INVALID_INPUT
