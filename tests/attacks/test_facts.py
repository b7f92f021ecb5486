"""Facts: whoever reaches the broker states nothing of a job or a call that job-service did not give to him."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest
from calotype import streams
from calotype.artifact.v1 import artifact_pb2
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, worker_service_pb2
from sqlalchemy.exc import IntegrityError

from common.consuming import Ack, Message, Reject
from common.errors import ServiceError
from common.jetstream import JetStream
from common.postgres import Database
from services.job.application.provider_calls import begin_provider_call
from services.job.domain.calls import ProviderCall
from services.job.domain.jobs import Job
from services.job.domain.states import State
from services.job.domain.timeouts import StageTimeouts
from services.job.grpc_api.worker_service import WorkerService
from services.job.loops.fact_consumer import PUT_ASIDE, FactConsumer
from services.job.loops.outbox_relay import OutboxRelay
from services.job.migrations import MIGRATIONS
from tests.support.brokers.facts import broker_at, images_generated
from tests.support.job_service.use_cases import JobUseCases, failed, fence_of, generated, purchase_of, use_cases_at
from tests.support.patience import PATIENCE, pause

GENERATION, UPLOAD = f"{streams.FACT_GENERATION}.any", f"{streams.FACT_UPLOAD}.any"
NOBODYS_CALL = f"call_{'0' * 32}"
ROWS = (
    "SELECT * FROM jobs ORDER BY id",
    "SELECT * FROM provider_calls ORDER BY id",
    "SELECT * FROM artifacts ORDER BY id",
)
A_DAY_LATER = "UPDATE provider_calls SET created_at = created_at - interval '26 hours'"
SUCCEEDED, NOT_SENT = job_pb2.CALL_PHASE_SUCCEEDED, job_pb2.CALL_PHASE_NOT_SENT


@dataclass(frozen=True, kw_only=True)
class Held:
    """A job in a generator's hands, the call that it began, and that call's token."""

    job: Job
    call: ProviderCall
    token: bytes


@dataclass(frozen=True, kw_only=True)
class World:
    """Somebody's queued job, two jobs whose calls are under way, and job-service."""

    desk: JobUseCases
    consumer: FactConsumer
    service: WorkerService
    waiting: Job
    victim: Held
    other: Held

    async def tell(self, fact: fact_pb2.Fact, *, subject: str = GENERATION) -> Any:
        """What becomes of a fact."""
        body = fact.SerializeToString()
        told = Message(subject=subject, body=body, headers={}, stream_sequence=1, delivered=1)
        [verdict] = await self.consumer.handle([told])
        return verdict

    def rows(self) -> list[Any]:
        """All that facts could change."""
        return [self.desk.sql(statement) for statement in ROWS]


@pytest.fixture
async def broker(nats_url: str) -> AsyncIterator[JetStream]:
    """A broker with all streams."""
    async with broker_at(nats_url) as broker:
        yield broker


@pytest.fixture
def desk(database_url: str) -> Iterator[JobUseCases]:
    """A desk with the providers `procedural` (free, default) and `paid`."""
    with use_cases_at(database_url) as desk:
        yield desk


@pytest.fixture
async def world(desk: JobUseCases, database_url: str, broker: JetStream) -> AsyncIterator[World]:
    """job-service that is handed its facts by the test."""
    database = Database(database_url, application="test", pool_size=2, queue_timeout_seconds=PATIENCE)
    relay = OutboxRelay(database, broker)
    victim, other = held(desk), held(desk, tenant="rival")
    yield World(
        desk=desk,
        consumer=FactConsumer(database, broker, relay, StageTimeouts()),
        service=WorkerService(database, relay, StageTimeouts()),
        waiting=desk.create(provider="paid").job,
        victim=victim,
        other=other,
    )
    await database.close()


def held(desk: JobUseCases, *, shows_tokens: bool = True, tenant: str = "acme") -> Held:
    """A job whose call a generator has begun; one of today shows tokens."""
    desk.create(provider="paid", tenant=tenant)
    [claimed] = desk.claim()
    purchase = replace(purchase_of(claimed.job), shows_tokens=shows_tokens)
    begun = desk.run(lambda c: begin_provider_call(c, purchase))
    return Held(job=desk.job(claimed.job.id), call=begun.call, token=begun.token)


def fence(job: Job, **changes: Any) -> fact_pb2.Fence:
    """The right that the job's present lease gives, but for the changes."""
    named = fence_of(job)
    told: dict[str, Any] = {"job_id": job.id, "claim_number": named.claim_number, "lease_token": str(named.lease_token)}
    return fact_pb2.Fence(**(told | changes))


def outcome(call: ProviderCall, token: bytes = b"", *, phase: Any = SUCCEEDED) -> fact_pb2.CallOutcome:
    """How a call ended, by whoever shows this token."""
    return fact_pb2.CallOutcome(call_id=call.id, phase=phase, call_token=token)


def picture(job: Job, call_id: str, *, name: str = "") -> artifact_pb2.ImageArtifact:
    """A picture that is said to be a call's; by default under its own name."""
    return artifact_pb2.ImageArtifact(
        index=0,
        staged=artifact_pb2.StagedObject(name=name or f"{job.id}/{call_id}/0", call_id=call_id),
        content_type="image/png",
        width=64,
        height=64,
        size_bytes=100,
        sha256="0" * 64,
        blurhash="L00000",
    )


def settled(job: Job, *, calls: Sequence[Any] = (), images: Sequence[Any] = (), **more: Any) -> fact_pb2.Fact:
    """Calls ended or images were staged, by whoever shows what."""
    return fact_pb2.Fact(ledger_settled=fact_pb2.LedgerSettled(job_id=job.id, calls=calls, images=images, **more))


def accepted(about: Held, token: bytes = b"") -> fact_pb2.Fact:
    """A provider named an operation."""
    told = fact_pb2.ProviderCallAccepted(
        job_id=about.job.id, call_id=about.call.id, operation_id="op", call_token=token
    )
    return fact_pb2.Fact(provider_call_accepted=told)


def ended(about: Held, token: bytes = b"", *, lease: str = "") -> fact_pb2.Fact:
    """A call of a final job ended with a picture."""
    images = [picture(about.job, about.call.id)]
    told = fact_pb2.CallSettled(job_id=about.job.id, call=outcome(about.call, token), lease_token=lease, images=images)
    return fact_pb2.Fact(call_settled=told)


def stored(job: Job, name: str, **changes: Any) -> fact_pb2.Fact:
    """A job's picture is public under this name."""
    images = [fact_pb2.StoredImage(index=0, object_name=name, sha256="0" * 64)]
    return fact_pb2.Fact(images_stored=fact_pb2.ImagesStored(fence=fence(job, **changes), images=images))


FORGED: dict[str, tuple[Callable[[World], fact_pb2.Fact], str]] = {
    "another tenant's staged picture": (
        lambda w: settled(w.waiting, images=[picture(w.waiting, NOBODYS_CALL, name=f"{w.other.job.id}/x/0")]),
        "it names another object than image 0 of its call has",
    ),
    "another tenant's staged picture, by its call": (
        lambda w: settled(
            w.waiting,
            images=[picture(w.waiting, w.other.call.id, name=f"{w.other.job.id}/{w.other.call.id}/0")],
        ),
        "it names another object than image 0 of its call has",
    ),
    "a call that is not there": (
        lambda w: settled(w.waiting, images=[picture(w.waiting, NOBODYS_CALL)]),
        "and there is no such call",
    ),
    "a call of another job": (
        lambda w: settled(w.waiting, images=[picture(w.waiting, w.other.call.id)]),
        "which is a call of another job",
    ),
    "a call of another job, with its token": (
        lambda w: settled(
            w.waiting,
            calls=[outcome(w.other.call, w.other.token)],
            images=[picture(w.waiting, w.other.call.id)],
        ),
        "which is a call of another job",
    ),
    "no token": (
        lambda w: settled(
            w.victim.job, calls=[outcome(w.victim.call)], images=[picture(w.victim.job, w.victim.call.id)]
        ),
        "it does not show that its sender was given",
    ),
    "images alone": (
        lambda w: settled(w.victim.job, images=[picture(w.victim.job, w.victim.call.id)]),
        "it does not show that its sender was given",
    ),
    "nothing but that a call was not sent": (
        lambda w: settled(w.victim.job, calls=[outcome(w.victim.call, phase=NOT_SENT)]),
        "it does not show that its sender was given",
    ),
    "the token of another call": (
        lambda w: settled(w.victim.job, calls=[outcome(w.victim.call, w.other.token)]),
        "its token is not that of",
    ),
    "a token that is made up": (
        lambda w: settled(w.victim.job, calls=[outcome(w.victim.call, bytes(32))]),
        "its token is not that of",
    ),
    "a claim that is made up": (
        lambda w: settled(
            w.victim.job, calls=[outcome(w.victim.call)], fence=fence(w.victim.job, lease_token=str(uuid4()))
        ),
        "it does not show that its sender was given",
    ),
    "another job's claim": (
        lambda w: settled(w.victim.job, calls=[outcome(w.victim.call)], fence=fence(w.other.job)),
        "it does not show that its sender was given",
    ),
    "another job's lease": (
        lambda w: settled(
            w.victim.job, calls=[outcome(w.victim.call)], fence=fence(w.other.job, job_id=w.victim.job.id)
        ),
        "it does not show that its sender was given",
    ),
    "an end of the stage under another job's lease": (
        lambda w: fact_pb2.Fact(
            images_generated=fact_pb2.ImagesGenerated(
                fence=fence(w.other.job, job_id=w.victim.job.id),
                calls=[outcome(w.victim.call)],
                images=[picture(w.victim.job, w.victim.call.id)],
            )
        ),
        "it does not show that its sender was given",
    ),
    "an operation of nobody's": (
        lambda w: accepted(w.victim),
        "it does not show that its sender was given",
    ),
    "an operation by another call's token": (
        lambda w: accepted(w.victim, w.other.token),
        "its token is not that of",
    ),
    "a settlement that nobody holds": (
        lambda w: ended(w.victim),
        "it does not show that its sender was given",
    ),
    "a settlement by a token that is made up": (
        lambda w: ended(w.victim, lease=str(uuid4())),
        "it does not show that its sender was given",
    ),
    "a settlement by another call's token": (
        lambda w: ended(w.victim, w.other.token),
        "its token is not that of",
    ),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_fact_is_put_aside_with_its_reason_and_leaves_every_job_untouched(
    world: World, name: str
) -> None:
    forge, reason = FORGED[name]
    before = world.rows()
    verdict = await world.tell(forge(world))

    assert isinstance(verdict, Reject)
    assert reason in verdict.reason
    assert world.rows() == before


async def test_a_fact_on_a_subject_of_others_is_a_dead_letter_though_all_else_of_it_is_true(
    world: World, broker: JetStream
) -> None:
    true = images_generated(world.victim.job, world.victim.call)
    public = stored(world.victim.job, f"jobs/{world.victim.job.id}/0-{'0' * 16}.png")
    before = world.rows()
    for subject, fact in (
        (UPLOAD, true),
        (UPLOAD, settled(world.victim.job, calls=[outcome(world.victim.call, world.victim.token)])),
        (UPLOAD, accepted(world.victim, world.victim.token)),
        (UPLOAD, ended(world.victim, world.victim.token)),
        (GENERATION, public),
        ("calotype.fact.other.any", true),
    ):
        await broker.publish(subject, fact.SerializeToString(), message_id=str(uuid4()), headers={"ce-type": "test"})
    stop = asyncio.Event()
    reading = asyncio.create_task(world.consumer.run(stop))
    async with asyncio.timeout(PATIENCE):
        while (await broker.context.stream_info(streams.FACTS["name"])).state.messages:
            await pause()
    stop.set()
    await reading
    dead = [await broker.stored(streams.DEAD_LETTERS["name"], n, subject=streams.DEAD_FACT) for n in range(1, 7)]
    reasons = [one.headers["Calotype-Dead-Reason"] for one in dead if one is not None]

    assert ["may not come on" in reason for reason in reasons] == [True] * 6
    assert world.rows() == before


async def test_an_uploader_speaks_of_no_call(world: World) -> None:
    desk, victim = world.desk, world.victim
    desk.apply(generated(victim.job, victim.call))
    desk.sql("UPDATE provider_calls SET phase = 'unknown' WHERE id = :id", id=victim.call.id)
    [claimed] = desk.claim_uploads()
    upload = desk.job(claimed.job.id)
    told = fact_pb2.StageFailed(fence=fence(upload), calls=[outcome(victim.call)])
    told.failure.stage = error_pb2.STAGE_UPLOADING
    verdict = await world.tell(fact_pb2.Fact(stage_failed=told), subject=UPLOAD)
    [row] = desk.sql("SELECT phase FROM provider_calls WHERE id = :id", id=victim.call.id)

    assert isinstance(verdict, Reject)
    assert "it does not show that its sender was given" in verdict.reason
    assert row.phase == "unknown"


async def test_a_public_name_is_derived_and_one_that_was_chosen_is_refused(world: World) -> None:
    desk, victim = world.desk, world.victim
    desk.apply(generated(victim.job, victim.call))
    desk.claim_uploads()
    upload = desk.job(victim.job.id)
    before = world.rows()
    chosen = f"jobs/{world.other.job.id}/0-{'0' * 16}.png"
    by_nobody = await world.tell(stored(upload, chosen, lease_token=str(uuid4())), subject=UPLOAD)
    untouched = world.rows() == before
    by_its_uploader = await world.tell(stored(upload, chosen), subject=UPLOAD)
    after = desk.job(victim.job.id)
    public = desk.sql("SELECT 1 FROM artifacts WHERE public_name IS NOT NULL")

    assert by_nobody == by_its_uploader == Reject("it names another object than image 0 has")
    assert untouched
    # Whoever holds the job has not published it, and would say the same again.
    assert (after.state, after.failure.message if after.failure else "") == (State.FAILED, PUT_ASIDE)
    assert public == []


async def test_a_public_picture_has_the_name_that_its_uploader_gives_it(world: World) -> None:
    desk, victim = world.desk, world.victim
    desk.apply(generated(victim.job, victim.call))
    desk.claim_uploads()
    [row] = desk.sql("SELECT sha256 FROM artifacts WHERE job_id = :id", id=victim.job.id)
    for content_type, extension in {"png": "png", "jpeg": "jpg", "webp": "webp", "tiff": "bin"}.items():
        desk.sql("UPDATE artifacts SET content_type = :type", type=f"image/{content_type}")
        upload = desk.job(victim.job.id)
        name = f"jobs/{upload.id}/0-{row.sha256[:16]}.{extension}"
        told = stored(upload, name, lease_token=str(uuid4()))
        # It moves nothing without its lease, and nothing of it is wrong.
        assert await world.tell(told, subject=UPLOAD) == Ack()


# What honest workers say, in whatever version.


async def test_a_token_speaks_for_its_call_whoever_holds_the_job(world: World) -> None:
    victim = world.victim
    world.desk.sql("UPDATE provider_calls SET claim_number = claim_number + 1 WHERE id = :id", id=victim.call.id)
    verdict = await world.tell(
        settled(
            victim.job,
            calls=[outcome(victim.call, victim.token)],
            images=[picture(victim.job, victim.call.id)],
        )
    )
    [row] = world.desk.sql("SELECT phase FROM provider_calls WHERE id = :id", id=victim.call.id)
    [image] = world.desk.sql("SELECT call_id, staged_name FROM artifacts")

    assert (verdict, row.phase) == (Ack(), "succeeded")
    assert (image.call_id, image.staged_name) == (victim.call.id, f"{victim.job.id}/{victim.call.id}/0")


async def test_whoever_got_no_answer_to_beginning_a_call_speaks_of_it_by_the_claim(world: World) -> None:
    victim = world.victim
    calls = [outcome(victim.call, phase=NOT_SENT), fact_pb2.CallOutcome(call_id=NOBODYS_CALL, phase=NOT_SENT)]
    verdict = await world.tell(settled(victim.job, calls=calls, fence=fence(victim.job)))

    assert verdict == Ack()
    assert world.desk.sql("SELECT phase FROM provider_calls WHERE id = :id", id=victim.call.id)[0].phase == "not_sent"


async def test_that_a_call_was_not_sent_is_no_word_about_its_sending_by_a_later_claim(world: World) -> None:
    victim = world.victim
    world.desk.sql("UPDATE provider_calls SET claim_number = claim_number + 1 WHERE id = :id", id=victim.call.id)
    told = settled(victim.job, calls=[outcome(victim.call, phase=NOT_SENT)], fence=fence(victim.job))

    assert await world.tell(told) == Ack()
    assert world.desk.sql("SELECT phase FROM provider_calls WHERE id = :id", id=victim.call.id)[0].phase == "intended"


async def test_a_settlement_gives_the_token_of_its_call_and_an_older_worker_shows_its_own(world: World) -> None:
    desk, leases = world.desk, [str(uuid4()), str(uuid4())]
    both = {one.job.id: one for one in (world.victim, world.other)}
    for one in both.values():
        desk.apply(failed(one.job, retryable=False))
    desk.sql("UPDATE jobs SET completed_at = completed_at - interval '1 hour' WHERE state = 'failed'")
    asked = worker_service_pb2.ClaimSettlementsRequest(worker="w", lease_tokens=leases, providers=["paid"])
    first, second = (await world.service.ClaimSettlements(asked, None)).settlements
    by_token = ended(both[first.call.job_id], first.call_token)
    by_lease = ended(both[second.call.job_id], lease=second.lease_token)
    told = [await world.tell(by_token), await world.tell(by_lease), await world.tell(by_lease)]

    assert first.call_token == both[first.call.job_id].token
    assert told == [Ack(), Ack(), Ack()]
    assert {row.phase for row in desk.sql("SELECT phase FROM provider_calls")} == {"succeeded"}


async def test_an_older_workers_call_needs_no_token_for_a_day(world: World) -> None:
    older = held(world.desk, shows_tokens=False)
    first = await world.tell(accepted(older))
    world.desk.sql(A_DAY_LATER)
    verdict = await world.tell(settled(older.job, calls=[outcome(older.call)]))

    assert first == Ack()
    assert isinstance(verdict, Reject)
    assert "it does not show that its sender was given" in verdict.reason


async def test_whoever_follows_a_call_decides_whether_it_needs_a_token(world: World) -> None:
    victim = world.victim
    assert await world.tell(accepted(victim, victim.token)) == Ack()
    lease = worker_service_pb2.Lease(
        job_id=victim.job.id,
        claim_number=victim.job.claim_number,
        lease_token=str(fence_of(victim.job).lease_token),
    )

    async def follow(*, shows: bool) -> bytes:
        asked = worker_service_pb2.BeginProviderCallRequest(
            lease=lease, follow_call_id=victim.call.id, shows_call_tokens=shows
        )
        token: bytes = (await world.service.BeginProviderCall(asked, None)).call_token
        return token

    tokens = {await follow(shows=False)}
    by_an_older = await world.tell(accepted(victim))
    tokens.add(await follow(shows=True))
    by_nobody = await world.tell(accepted(victim))

    assert tokens == {victim.token}
    assert by_an_older == Ack()
    assert isinstance(by_nobody, Reject)


# The same over gRPC, where a worker is known but not every job is its own.


@pytest.mark.parametrize("whose", ["nobody's", "another's"])
async def test_an_operation_is_recorded_by_who_was_given_the_call(world: World, whose: str) -> None:
    victim, before = world.victim, world.rows()

    def asked(token: bytes) -> worker_service_pb2.RecordOperationRequest:
        return worker_service_pb2.RecordOperationRequest(call_id=victim.call.id, operation_id="op", call_token=token)

    with pytest.raises(ServiceError, match="call_token"):
        await world.service.RecordOperation(asked(b"" if whose == "nobody's" else world.other.token), None)
    untouched = world.rows() == before
    await world.service.RecordOperation(asked(victim.token), None)

    assert untouched
    assert world.desk.sql("SELECT phase FROM provider_calls WHERE id = :id", id=victim.call.id)[0].phase == "accepted"


@pytest.mark.parametrize("claim", ["made up", "an uploader's"])
async def test_whoever_hands_back_a_job_that_he_never_generated_settles_nothing(world: World, claim: str) -> None:
    desk, victim = world.desk, world.victim
    token = str(uuid4())
    if claim == "an uploader's":
        desk.sql("UPDATE attempts SET stage = 'uploading' WHERE job_id = :id", id=victim.job.id)
        token = str(fence_of(victim.job).lease_token)
        desk.sql("UPDATE jobs SET claim_number = claim_number + 1 WHERE id = :id", id=victim.job.id)
    before = world.rows()
    lease = worker_service_pb2.Lease(job_id=victim.job.id, claim_number=victim.job.claim_number, lease_token=token)
    asked = worker_service_pb2.ReleaseJobRequest(
        lease=lease, settled=[outcome(victim.call)], staged=[picture(victim.job, victim.call.id)]
    )
    await world.service.ReleaseJob(asked, None)

    assert world.rows() == before


# Behind all that: the database.


def test_the_database_takes_no_picture_of_another_jobs_call(desk: JobUseCases) -> None:
    victim, other = held(desk), held(desk)
    desk.apply(generated(victim.job, victim.call))

    with pytest.raises(IntegrityError, match="an_artifact_is_of_a_call_of_its_job"):
        desk.sql("UPDATE artifacts SET call_id = :id", id=other.call.id)


def test_pictures_from_before_without_a_call_stay_and_go_with_their_job_and_no_new_one_comes(
    desk: JobUseCases, database_url: str
) -> None:
    victim, other = held(desk), held(desk)
    for one in (victim, other):
        desk.apply(generated(one.job, one.call))
    desk.sql("ALTER TABLE artifacts DROP CONSTRAINT an_artifact_is_of_a_call_of_its_job")
    desk.sql("UPDATE artifacts SET call_id = :call WHERE job_id = :id", call=NOBODYS_CALL, id=victim.job.id)
    desk.sql("UPDATE alembic_version SET version_num = '0012'")
    MIGRATIONS.upgrade(database_url)
    [row] = desk.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'an_artifact_is_of_a_call_of_its_job'")
    with pytest.raises(IntegrityError, match="an_artifact_is_of_a_call_of_its_job"):
        desk.sql("UPDATE artifacts SET call_id = :call WHERE job_id = :id", call=NOBODYS_CALL, id=other.job.id)
    desk.sql("DELETE FROM jobs WHERE id = :id", id=victim.job.id)
    desk.sql("UPDATE alembic_version SET version_num = '0012'")
    MIGRATIONS.upgrade(database_url)

    assert not row.convalidated
    assert desk.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'an_artifact_is_of_a_call_of_its_job'")[
        0
    ].convalidated
