"""A tenant's money and providers: nothing begins that its operator did not allow, whatever comes at once or breaks."""

from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import httpx
import pytest
from calotype.error_reasons import Code
from calotype.job.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import DependencyUnavailable, ServiceError
from common.grpc_client import call, channel
from gateway.auth.authenticator import Authenticator
from gateway.auth.keyring import Keyring, Principal, TenantQuota
from services.job.application.provider_calls import begin_provider_call
from services.job.domain.calls import CallOutcome, CallPhase, ProviderCall
from services.job.domain.facts import LedgerSettled
from services.job.domain.jobs import Job
from services.job.domain.providers import Model
from services.job.domain.refusals import Refusal
from services.job.store import spending
from tests.support.gateway.gateway_app import assembled, in_process
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.rolled_back_use_cases import rehearsal
from tests.support.job_service.use_cases import (
    FREE,
    PAID,
    JobUseCases,
    failed,
    generated,
    not_sent,
    open_transaction,
    purchase_of,
    use_cases_at,
)
from tests.support.patience import PATIENCE
from tests.support.servers import embedded_servers

PRICE = 40_000
PRICED = replace(
    PAID,
    models=(
        Model(name="flux", price_micros_per_image=PRICE),
        Model(name="dear", price_micros_per_image=4 * PRICE),
        Model(name="unpriced"),
    ),
)
CHEAP = replace(PAID, name="cheap", default_model="small", models=(Model(name="small", price_micros_per_image=1_000),))
UNPRICED = replace(PAID, name="unpriced")
PROVIDERS = (FREE, PRICED, CHEAP, UNPRICED)
NAMES = [one.name for one in PROVIDERS]
ENDS = [
    CallPhase.SUCCEEDED,
    CallPhase.REFUSED,
    CallPhase.FAILED,
    CallPhase.CANCELED,
    CallPhase.NOT_SENT,
    CallPhase.UNKNOWN,
]
SUMS = "SELECT tenant, period, starts_on, spent_micros, reserved_micros FROM tenant_spend"
#: The same, of each call by itself.
LEDGER = """
SELECT billed_to, period, date_trunc(period, billed_on::timestamp)::date,
    sum(CASE WHEN phase = 'succeeded' THEN coalesce(cost_micros, reserved_micros)
        WHEN phase IN ('intended', 'accepted', 'unknown') THEN 0 ELSE coalesce(cost_micros, 0) END),
    sum(CASE WHEN phase IN ('intended', 'accepted', 'unknown') THEN reserved_micros ELSE 0 END)
FROM provider_calls CROSS JOIN (VALUES ('day'), ('month')) AS span (period)
WHERE billed_to IS NOT NULL GROUP BY 1, 2, 3
"""
ANOTHER_DAY = """
SELECT other::date, today FROM (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) AS clock,
    generate_series(date_trunc('month', today::timestamp), date_trunc('month', today::timestamp) + '27 days', '1 day')
    AS other
WHERE other::date <> today
    AND NOT EXISTS (SELECT FROM tenant_spend WHERE period = 'day' AND starts_on = other::date)
ORDER BY other LIMIT 1
"""


@pytest.fixture(scope="module")
def module_database(postgres: embedded_servers.Server, template: str) -> Iterator[str]:
    """A database of the module's own: to copy one takes longer than most of these tests."""
    url = embedded_servers.copy_database(postgres.url, template)
    yield url
    embedded_servers.drop_database(postgres.url, url)


@pytest.fixture
def desk(module_database: str) -> Iterator[JobUseCases]:
    """job-service with a free provider, which is the default, two that have prices and one that has none."""
    with use_cases_at(module_database) as desk:
        for table in ("jobs", "provider_calls", "idempotency_keys", "lanes", "tenant_limits", "tenant_spend"):
            desk.sql(f"DELETE FROM {table}")
        desk.register(*PROVIDERS)
        yield desk


def claim(desk: JobUseCases, **request: Any) -> Job:
    """A new job in a worker's hands."""
    desk.create(**({"provider": "paid"} | request))
    return claim_next(desk)


def claim_next(desk: JobUseCases) -> Job:
    [claimed] = desk.claim(only=NAMES)
    return claimed.job


def begin(desk: JobUseCases, **request: Any) -> tuple[Job, ProviderCall]:
    """A new job whose call is under way."""
    job = claim(desk, **request)
    return job, desk.begin(job)


def settle(desk: JobUseCases, job: Job, *outcomes: CallOutcome) -> None:
    """The ledger hears how calls ended; the job is left where it is."""
    desk.apply(LedgerSettled(job_id=job.id, calls=outcomes, images=()))


def ended(call: ProviderCall, phase: CallPhase, *, cost: int | None = None) -> CallOutcome:
    return CallOutcome(call_id=call.id, phase=phase, cost_micros=cost)


def refusal(desk: JobUseCases, **request: Any) -> Refusal:
    """Why a job is not taken."""
    with pytest.raises(Refusal) as refused:
        desk.create(**({"provider": "paid"} | request))
    return refused.value


def refusal_to_begin(desk: JobUseCases, job: Job, **more: Any) -> Refusal:
    """Why a call of a claimed job may not leave; no row of it stays."""
    before = desk.sql("SELECT count(*) AS n FROM provider_calls")
    with pytest.raises(Refusal) as refused:
        desk.begin(job, **more)
    assert desk.sql("SELECT count(*) AS n FROM provider_calls") == before
    return refused.value


def spent(desk: JobUseCases, tenant: str = "acme") -> tuple[int, int]:
    """Micros that a tenant spent today and that are reserved; the month says the same."""
    standing = desk.run(lambda c: spending.spending_of(c, tenant))
    day, month = standing.used.values()
    assert day == month
    return day.spent_micros, day.reserved_micros


def test_ten_images_count_ten_times(desk: JobUseCases) -> None:
    desk.allow(per_day=10 * PRICE - 1)
    refused = refusal(desk, n=10)
    desk.allow(per_day=10 * PRICE)
    job = claim(desk, n=10)
    for indexes in ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9)):
        desk.begin(job, *indexes)

    assert (refused.reason, refused.metadata) == ("BUDGET_EXHAUSTED", {"budget": "budget_micros_per_day"})
    assert spent(desk) == (0, 10 * PRICE)
    assert refusal(desk).reason == "BUDGET_EXHAUSTED"


def test_of_jobs_that_begin_at_once_as_many_do_as_the_budget_covers(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE)
    for _ in range(16):
        desk.create(provider="paid")
    jobs = [one.job for one in desk.claim(16, only=NAMES)]

    def buy(job: Job) -> str:
        try:
            desk.begin(job)
        except Refusal as refused:
            return refused.reason
        return "begun"

    with ThreadPoolExecutor(16) as threads:
        told = sorted(threads.map(buy, jobs))

    assert told == ["BUDGET_EXHAUSTED"] * 15 + ["begun"]
    assert spent(desk) == (0, PRICE)
    assert desk.sql("SELECT count(*) AS n FROM provider_calls")[0].n == 1


@pytest.mark.parametrize(
    ("phase", "cost", "expected"),
    [
        (CallPhase.SUCCEEDED, 55_000, (55_000, 0)),
        (CallPhase.SUCCEEDED, 0, (0, 0)),
        (CallPhase.SUCCEEDED, None, (PRICE, 0)),
        (CallPhase.UNKNOWN, None, (0, PRICE)),
        (CallPhase.REFUSED, None, (0, 0)),
        (CallPhase.REFUSED, 12, (12, 0)),
        (CallPhase.FAILED, None, (0, 0)),
        (CallPhase.CANCELED, None, (0, 0)),
        (CallPhase.NOT_SENT, None, (0, 0)),
    ],
)
def test_the_end_of_a_call_takes_the_place_of_what_was_reserved(
    desk: JobUseCases, phase: CallPhase, cost: int | None, expected: tuple[int, int]
) -> None:
    desk.allow(per_day=PRICE, per_month=10 * PRICE)
    job, call = begin(desk)
    for _ in range(2):
        settle(desk, job, ended(call, phase, cost=cost))

    assert spent(desk) == expected


def test_an_unknown_outcome_stays_reserved_until_somebody_knows_it(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE)
    job, call = begin(desk)
    settle(desk, job, ended(call, CallPhase.UNKNOWN))
    unknown, refused = spent(desk), refusal(desk).reason
    settle(desk, job, ended(call, CallPhase.FAILED))

    assert (unknown, refused) == ((0, PRICE), "BUDGET_EXHAUSTED")
    assert spent(desk) == (0, 0)
    begin(desk)


def test_a_worker_that_dies_keeps_its_reservation_and_one_that_sent_nothing_gives_it_back(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE)
    job, call = begin(desk)
    desk.sql("UPDATE jobs SET lease_expires_at = now() - interval '1 second'")
    died = spent(desk)
    desk.release(job, not_sent(call))

    assert (died, spent(desk)) == ((0, PRICE), (0, 0))


def test_asking_again_after_a_lost_answer_reserves_once(desk: JobUseCases) -> None:
    desk.allow(per_day=2 * PRICE)
    job = claim(desk)
    purchase = purchase_of(job)
    first, again = (desk.run(lambda c: begin_provider_call(c, purchase)).call for _ in range(2))

    assert first.id == again.id
    assert spent(desk) == (0, PRICE)


def test_what_a_worker_knows_makes_room_for_its_next_call(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE)
    job, call = begin(desk)

    desk.begin(job, known=[ended(call, CallPhase.NOT_SENT)])

    assert spent(desk) == (0, PRICE)


def test_a_refused_call_takes_back_what_its_worker_told_with_it(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE)
    job, call = begin(desk)
    desk.allow(per_day=0)

    refused = refusal_to_begin(desk, job, known=[ended(call, CallPhase.NOT_SENT)])

    assert refused.reason == "BUDGET_EXHAUSTED"
    assert spent(desk) == (0, PRICE)


def test_a_fallback_that_is_cheaper_or_free_goes_on_where_the_first_is_not_covered(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE - 1)
    job = claim(desk, fallback=("cheap", "procedural"))
    refused = refusal_to_begin(desk, job)
    desk.begin(replace(job, model="small"), provider="cheap")

    assert refused.reason == "BUDGET_EXHAUSTED"
    assert spent(desk) == (0, 1_000)
    desk.allow(per_day=0)
    free = claim(desk, fallback=("procedural",))
    refusal_to_begin(desk, free)
    desk.begin(replace(free, model="v1"), provider="procedural")
    assert spent(desk) == (0, 1_000)


def test_a_lowered_budget_holds_for_jobs_that_wait_and_a_raised_one_too(desk: JobUseCases) -> None:
    desk.allow(per_day=10 * PRICE)
    job = claim(desk)
    desk.allow(per_day=PRICE - 1)
    refused = refusal_to_begin(desk, job)
    desk.allow(per_day=PRICE)
    desk.begin(job)

    assert refused.reason == "BUDGET_EXHAUSTED"


def test_what_was_spent_under_a_budget_counts_when_another_takes_its_place(desk: JobUseCases) -> None:
    desk.allow(per_day=10 * PRICE)
    begin(desk)
    desk.allow(per_month=PRICE)

    refused = refusal(desk)
    assert refused.metadata == {"budget": "budget_micros_per_month"}


def test_a_budget_begins_anew_with_the_day_and_with_the_month(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE, per_month=2 * PRICE)
    job, call = begin(desk)
    full = refusal(desk)
    a_day_passes(desk)
    begin(desk)
    over = refusal(desk)
    # What began yesterday counts there, however late its end is told.
    settle(desk, job, ended(call, CallPhase.SUCCEEDED, cost=7))

    assert full.metadata == {"budget": "budget_micros_per_day"}
    assert 0 < (full.retry_after_seconds or 0) <= 86_400
    assert over.metadata == {"budget": "budget_micros_per_month"}
    assert sorted(desk.sql(SUMS)) == sorted(desk.sql(LEDGER))
    days = desk.sql("SELECT spent_micros, reserved_micros FROM tenant_spend WHERE period = 'day'")
    assert sorted(tuple(one) for one in days) == [(0, PRICE), (7, 0)]
    desk.sql("UPDATE tenant_spend SET starts_on = starts_on - interval '4 years'")
    begin(desk)


def a_day_passes(desk: JobUseCases) -> None:
    """What was today was on another day of this month, on which nothing was."""
    [day] = desk.sql(ANOTHER_DAY)
    desk.sql("UPDATE provider_calls SET billed_on = :other WHERE billed_on = :today", **day._asdict())
    desk.sql("UPDATE tenant_spend SET starts_on = :other WHERE period = 'day' AND starts_on = :today", **day._asdict())


def test_a_price_beyond_the_whole_budget_names_no_time_to_come_back(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE - 1)

    assert refusal(desk).retry_after_seconds is None


def test_a_budget_is_its_tenants_alone(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE)
    begin(desk)
    desk.allow("rival", per_day=PRICE)
    begin(desk, tenant="rival")
    begin(desk, tenant="unbounded")

    assert (spent(desk), spent(desk, "rival")) == ((0, PRICE), (0, PRICE))
    assert desk.sql("SELECT count(*) AS n FROM tenant_spend WHERE tenant = 'unbounded'")[0].n == 0


def test_nobody_waits_for_another_tenants_budget(desk: JobUseCases) -> None:
    desk.allow(per_day=10 * PRICE)
    desk.allow("rival", per_day=10 * PRICE)
    mine, theirs = claim(desk), claim(desk, tenant="rival")

    with open_transaction(desk, lambda c: desk.on(c).begin(mine)):
        desk.begin(theirs)

    assert (spent(desk), spent(desk, "rival")) == ((0, PRICE), (0, PRICE))


def test_whoever_waits_for_a_budget_holds_up_no_provider(desk: JobUseCases) -> None:
    desk.register(FREE, replace(PRICED, max_concurrency=9))
    desk.allow(per_day=10 * PRICE)
    first, second, theirs = claim(desk), claim(desk), claim(desk, tenant="rival")

    day = desk.run(lambda c: spending.spending_of(c, "acme")).today

    with (
        ThreadPoolExecutor(2) as threads,
        open_transaction(desk, lambda c: spending.reserve(c, "acme", day, 1)),
    ):
        waiting = [threads.submit(desk.begin, one) for one in (first, second)]
        desk.await_blocked(2)
        desk.begin(theirs)
        assert not any(one.done() for one in waiting)


def test_a_model_whose_price_nobody_knows_is_not_for_a_tenant_with_a_budget(desk: JobUseCases) -> None:
    desk.allow(per_day=10 * PRICE)
    fields = [
        [one.field for one in refusal(desk, **request).violations]
        for request in ({"model": "unpriced"}, {"provider": "unpriced"}, {"fallback": ("unpriced",)})
    ]

    assert fields == [["model"], ["provider"], ["fallback.0"]]
    desk.create(provider="paid", model="unpriced", tenant="unbounded")


def test_a_price_that_has_gone_since_is_no_free_pass(desk: JobUseCases) -> None:
    desk.allow(per_day=10 * PRICE)
    job = claim(desk)
    desk.register(FREE, PAID)

    assert refusal_to_begin(desk, job).reason == "UNSUPPORTED"


def test_what_is_free_stays_open_when_nothing_is_left(desk: JobUseCases) -> None:
    desk.allow(per_day=0)
    begin(desk, provider=None)

    assert desk.sql(SUMS) == []


def test_a_users_retry_is_refused_while_nothing_is_left_and_taken_when_there_is(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE)
    job = claim(desk)
    desk.allow(per_day=0)
    reason = refusal_to_begin(desk, job).reason
    desk.apply(failed(job, code=Code.PERMANENT, reason=reason, message="No.", retryable=False))
    with pytest.raises(Refusal) as refused:
        desk.retry(job.id)
    desk.allow(per_day=PRICE)
    desk.retry(job.id)

    assert (reason, refused.value.reason) == ("BUDGET_EXHAUSTED", "BUDGET_EXHAUSTED")
    desk.begin(claim_next(desk))


def test_a_replay_is_answered_whatever_is_left(desk: JobUseCases) -> None:
    desk.allow(per_day=PRICE)
    first = desk.create(provider="paid", key="k")
    desk.allow(per_day=0)

    assert desk.create(provider="paid", key="k").job.id == first.job.id


NOT_ALLOWED = [
    ({"provider": "cheap"}, "PROVIDER_NOT_FOUND", "provider"),
    ({"provider": "paid", "model": "dear"}, "INVALID_INPUT", "model"),
    ({"provider": "paid", "fallback": ("cheap",)}, "INVALID_INPUT", "fallback.0"),
    ({"provider": "paid", "fallback": ("procedural", "unpriced")}, "INVALID_INPUT", "fallback.1"),
]


@pytest.mark.parametrize(("request_", "reason", "field"), NOT_ALLOWED, ids=lambda one: str(one)[:40])
def test_what_a_tenant_may_not_use_is_not_there_for_it(
    desk: JobUseCases, request_: dict[str, Any], reason: str, field: str
) -> None:
    desk.allow(providers=("paid/flux", "procedural"))
    refused = refusal(desk, **request_)

    assert (refused.reason, refused.violations[0].field) == (reason, field)
    desk.create(provider="paid", model="flux", fallback=("procedural",))
    desk.create(tenant="other", **request_)


def test_the_default_is_one_that_the_tenant_may_use(desk: JobUseCases) -> None:
    desk.allow(providers=("paid/dear", "unpriced"))
    chosen = desk.create().job

    assert (chosen.provider, chosen.model) == ("paid", "dear")
    # A fallback is asked for its default model, which this tenant may not use.
    assert refusal(desk, provider="unpriced", fallback=("paid",)).violations[0].field == "fallback.0"


def test_a_tenant_that_may_use_nothing_is_told_so(desk: JobUseCases) -> None:
    desk.allow(providers=())

    assert refusal(desk, provider=None).reason == "PROVIDER_NOT_FOUND"


def test_a_list_that_was_cut_holds_for_jobs_that_wait(desk: JobUseCases) -> None:
    job = claim(desk, fallback=("cheap",))
    desk.allow(providers=("cheap/small",))
    refused = [refusal_to_begin(desk, job), refusal_to_begin(desk, replace(job, model="large"), provider="cheap")]
    desk.begin(replace(job, model="small"), provider="cheap")

    assert [one.reason for one in refused] == ["PROVIDER_NOT_FOUND"] * 2


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens next: a call begins, or one of those that did ends, perhaps once more, or a day passes."""

    kind: str
    call: int
    tenant: str
    n: int
    phase: CallPhase
    cost: int | None


STEPS = st.builds(
    Step,
    kind=st.sampled_from(["begin", "begin", "settle", "settle", "hand back", "day"]),
    call=st.integers(0, 31),
    tenant=st.sampled_from(["acme", "rival"]),
    n=st.integers(1, 3),
    phase=st.sampled_from(ENDS),
    cost=st.none() | st.integers(0, 3 * PRICE),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_the_sums_are_those_of_the_ledger_whatever_comes_in_whatever_order(
    module_database: str, desk: JobUseCases, steps: Sequence[Step]
) -> None:
    # Empty as the fixture leaves it, each time.
    with rehearsal(module_database) as desk:
        desk.register(*PROVIDERS)
        for tenant in ("acme", "rival"):
            desk.allow(tenant, per_day=6 * PRICE)
        begun: list[tuple[Job, ProviderCall]] = []
        for step in steps:
            take(desk, step, begun)
            sums = {tuple(row) for row in desk.sql(SUMS) if row.spent_micros or row.reserved_micros}
            assert sums == {tuple(row) for row in desk.sql(LEDGER) if row[3] or row[4]}


def take(desk: JobUseCases, step: Step, begun: list[tuple[Job, ProviderCall]]) -> None:
    match step.kind:
        case "begin":
            try:
                begun.append(begin(desk, tenant=step.tenant, n=step.n))
            except Refusal as refused:
                assert refused.reason == "BUDGET_EXHAUSTED"
        case "day":
            a_day_passes(desk)
        case "settle" if begun:
            job, call = begun[step.call % len(begun)]
            settle(desk, job, ended(call, step.phase, cost=step.cost))
        case "hand back" if begun:
            job, call = begun[step.call % len(begun)]
            desk.release(job, ended(call, step.phase, cost=step.cost))
            desk.sql("UPDATE jobs SET run_at = 'infinity' WHERE state = 'queued'")


def test_facts_of_many_tenants_and_days_move_every_sum_once(desk: JobUseCases) -> None:
    tenants = [f"t{number}" for number in range(4)]
    for tenant in tenants:
        desk.allow(tenant, per_day=10 * PRICE)
    held = [begin(desk, tenant=tenant) for tenant in tenants for _ in range(2)]
    a_day_passes(desk)
    held += [begin(desk, tenant=tenant) for tenant in tenants]
    facts = [generated(job, call, cost=number + 1) for number, (job, call) in enumerate(held)]

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(desk.apply, *facts[start::4]) for start in range(4)]:
            done.result()

    assert sorted(desk.sql(SUMS)) == sorted(desk.sql(LEDGER))
    assert sum(row.spent_micros for row in desk.sql(SUMS)) == 2 * sum(range(1, len(held) + 1))


def test_sums_of_months_long_over_are_forgotten_and_what_is_told_of_them_does_no_harm(desk: JobUseCases) -> None:
    desk.allow(per_day=10 * PRICE)
    job, call = begin(desk)
    desk.sql("UPDATE tenant_spend SET starts_on = starts_on - 100")
    desk.sql("UPDATE provider_calls SET billed_on = billed_on - 100")
    begin(desk)
    forgotten = desk.run(lambda c: spending.forget(c, limit=100))
    settle(desk, job, ended(call, CallPhase.SUCCEEDED))

    assert forgotten == 2
    assert spent(desk) == (0, PRICE)


PATHS = {"/v1/jobs": {"prompt": "a harbour"}, "/v1/images/generations": {"prompt": "a harbour"}}
BUDGETS = {"budget_micros_per_day": PRICE, "budget_micros_per_month": 9 * PRICE}
BOUNDED = TenantQuota(
    allowed_providers=("paid", "procedural"), budget_micros_per_day=PRICE, budget_micros_per_month=9 * PRICE
)


@dataclass(frozen=True, kw_only=True)
class Doors:
    """A gateway on a real job-service, a client of that itself, and the keys that are in use."""

    http: httpx.AsyncClient
    stub: Any
    keys: Authenticator

    def allow(self, limits: TenantQuota) -> None:
        """The keys file says this of `acme` from now on."""
        self.keys.use(keyring(limits))

    async def post(self, path: str, *, key: str = "", **fields: Any) -> httpx.Response:
        """Submit a job as `acme`."""
        headers = AS_ACME | ({"Idempotency-Key": key} if key else {})
        return await self.http.post(path, json=PATHS[path] | fields, headers=headers)

    async def names(self, path: str, name: str) -> list[str]:
        """What `acme` finds listed."""
        listed = (await self.http.get(path, headers=AS_ACME)).json()
        return [one[name] for one in listed["data" if "data" in listed else "providers"]]


def keyring(limits: TenantQuota) -> Keyring:
    digests = {name: sha256(name.encode()).hexdigest() for name in ("acme", "ops")}
    return Keyring(
        [
            Principal(tenant="acme", limits=limits, key_sha256=digests["acme"]),
            Principal(tenant="ops", role="operator", key_sha256=digests["ops"]),
        ]
    )


AS_ACME, AS_OPERATOR = {"Authorization": "Bearer acme"}, {"Authorization": "Bearer ops"}


@pytest.fixture
async def doors(desk: JobUseCases, module_database: str, nats_url: str) -> AsyncIterator[Doors]:
    """They know of no limits yet."""
    keys = Authenticator(keyring(BOUNDED))
    async with (
        job_service(module_database, nats_url) as address,
        assembled(address, authenticator=keys) as (app, _),
        in_process(app) as http,
        channel(address) as opened,
    ):
        yield Doors(http=http, stub=job_service_pb2_grpc.JobServiceStub(opened), keys=keys)


async def test_the_first_job_of_a_bounded_tenant_is_bounded_already(doors: Doors) -> None:
    refused = await doors.post("/v1/jobs", provider="paid", n=2, key="k")
    told = refused.json()
    doors.allow(replace(BOUNDED, budget_micros_per_day=2 * PRICE))
    taken = await doors.post("/v1/jobs", provider="paid", n=2, key="k")

    assert (refused.status_code, told["reason"], told["code"], told["retryable"]) == (
        402, "BUDGET_EXHAUSTED", "PERMANENT", False,
    )  # fmt: skip
    assert told["type"] == "/problems/budget-exhausted"
    # Beyond the whole budget of a day: no day will do.
    assert "retry-after" not in refused.headers
    assert taken.status_code == 202


async def test_a_spent_budget_names_the_time_at_which_it_begins_anew(doors: Doors, desk: JobUseCases) -> None:
    assert (await doors.post("/v1/jobs", provider="paid")).status_code == 202
    desk.begin(claim_next(desk))
    refused = await doors.post("/v1/jobs", provider="paid")
    openai = await doors.post("/v1/images/generations", model="paid")
    shown = (await doors.http.get("/v1/admin/spend", headers=AS_OPERATOR)).json()

    assert (refused.status_code, openai.status_code) == (402, 429)
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    # What clients of OpenAI know, and do not repeat.
    assert openai.json()["error"]["code"] == "insufficient_quota"
    assert openai.headers["x-should-retry"] == "false"
    [one] = shown["tenants"]
    assert one["tenant"] == "acme"
    assert {name: one[name] for name in BUDGETS} == BUDGETS
    assert [(one[name]["spent_micros"], one[name]["reserved_micros"]) for name in ("day", "month")] == [(0, PRICE)] * 2
    assert one["month"]["starts_on"] == one["day"]["starts_on"][:8] + "01"


async def test_whoever_comes_by_grpc_is_bound_by_the_same(doors: Doors) -> None:
    assert (await doors.post("/v1/jobs", provider="paid")).status_code == 202
    refusals = []
    for request in ({"provider": "paid", "n": 2}, {"provider": "cheap"}):
        asked = job_service_pb2.CreateJobRequest(
            tenant="acme", request=job_pb2.JobRequest(prompt="a harbour", **request)
        )
        with pytest.raises(ServiceError) as refused:
            await call(doors.stub.CreateJob, asked, timeout=PATIENCE)
        refusals.append((refused.value.status.name, refused.value.reason))

    assert refusals == [("FAILED_PRECONDITION", "BUDGET_EXHAUSTED"), ("INVALID_ARGUMENT", "PROVIDER_NOT_FOUND")]


async def test_what_a_tenant_may_not_use_is_neither_listed_nor_told_apart_from_what_is_not_there(doors: Doors) -> None:
    doors.allow(replace(BOUNDED, allowed_providers=("paid/flux", "procedural")))
    assert (await doors.post("/v1/jobs")).status_code == 202
    hidden, missing = [
        [await doors.post("/v1/jobs", provider=name), await doors.post("/v1/images/generations", model=name)]
        for name in ("cheap", "nobody")
    ]
    model = await doors.post("/v1/images/generations", model="paid/dear")

    assert await doors.names("/v1/providers", "name") == ["paid", "procedural"]
    assert await doors.names("/v1/models", "id") == ["paid", "paid/flux", "procedural"]
    assert [one.status_code for one in (*hidden, model)] == [422, 404, 404]
    assert [one.text.replace("cheap", "?") for one in hidden[1:]] == [
        one.text.replace("nobody", "?") for one in missing[1:]
    ]
    assert hidden[0].json()["detail"].replace("cheap", "?") == missing[0].json()["detail"].replace("nobody", "?")


async def test_where_limits_cannot_be_told_a_bounded_tenant_gets_no_job(desk: JobUseCases) -> None:
    service = FakeJobService()
    async with (
        serving(service) as address,
        assembled(address, authenticator=Authenticator(keyring(BOUNDED))) as (app, parts),
        in_process(app) as http,
    ):
        bounded = await http.post("/v1/jobs", json={"prompt": "a harbour"}, headers=AS_ACME)
        free = await http.post("/v1/jobs", json={"prompt": "a harbour"}, headers=AS_OPERATOR)
        with pytest.raises(DependencyUnavailable):
            await parts.tenants.run_once()

    assert (bounded.status_code, free.status_code) == (500, 202)
    assert len(service.history) == 1
