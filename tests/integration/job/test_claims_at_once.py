"""Claims run at once: no limit is passed, no job is claimed twice, and nobody waits who need not."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from services.job.domain.jobs import Job
from services.job.domain.states import State
from tests.support.job_service.invariants import LOADED_TOO_HIGH
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, open_transaction
from tests.support.patience import PATIENCE

SPARE = replace(PAID, name="spare", default_model="sketch", max_concurrency=2)
LIMITS = {"one": 1, "three": 3}
RUNNING = "state IN ('processing', 'generating')"
#: Tenants and providers beyond their limits, as one snapshot sees them.
BEYOND = f"""
SELECT tenant AS name, count(*) AS n FROM jobs JOIN tenant_load USING (tenant) WHERE {RUNNING}
GROUP BY tenant, max_in_flight HAVING count(*) > max_in_flight
UNION ALL
SELECT provider, count(*) FROM jobs WHERE {RUNNING} AND provider IN ('paid', 'spare') GROUP BY provider
HAVING count(*) > CASE provider WHEN 'paid' THEN 3 ELSE 2 END
"""


def test_a_claim_waits_for_no_other_where_nothing_is_limited(desk: JobUseCases) -> None:
    first, second = desk.create().job, desk.create().job
    with open_transaction(desk, lambda c: desk.on(c).claim()), ThreadPoolExecutor(1) as threads:
        claimed = threads.submit(desk.claim, 2).result(PATIENCE)

    assert [one.job.id for one in claimed] == [second.id]
    assert desk.job(first.id).state is State.PROCESSING


@pytest.mark.parametrize("held", ["by a provider", "by a tenant"])
def test_a_claim_waits_for_no_other_claims_limit(desk: JobUseCases, held: str) -> None:
    desk.register(FREE, replace(PAID, max_concurrency=1), SPARE)
    desk.sql("INSERT INTO tenant_load (tenant, max_in_flight) VALUES ('one', 1), ('two', 1)")
    providers = ("paid", "spare") if held == "by a provider" else ("procedural", "procedural")
    for tenant, provider in zip(("one", "two"), providers, strict=True):
        desk.create(tenant=tenant, provider=provider)
    with open_transaction(desk, lambda c: desk.on(c).claim(only=providers[:1])), ThreadPoolExecutor(1) as threads:
        claimed = threads.submit(desk.claim, only=providers[1:]).result(PATIENCE)

    assert [one.job.tenant for one in claimed] == ["two"]


def test_more_claims_at_once_than_a_search_finds_jobs_all_get_one(desk: JobUseCases) -> None:
    for _ in range(24):
        desk.create()
    with ThreadPoolExecutor(8) as threads:
        claimed = [one.job.id for found in threads.map(lambda _: desk.claim(), range(24)) for one in found]

    assert len(claimed) == len(set(claimed)) == 24


def test_one_of_many_claims_tries_an_open_breaker(desk: JobUseCases) -> None:
    desk.sql(
        "INSERT INTO breakers (provider, model, failures, code, reason, opened_at, open_until) VALUES"
        " ('paid', 'flux', 5, 'TEMPORARY', 'PROVIDER_UNAVAILABLE', clock_timestamp(), clock_timestamp())"
    )
    for number in range(16):
        desk.create(provider="paid", tenant=f"tenant-{number}")
    with ThreadPoolExecutor(8) as threads:
        claimed = [one for found in threads.map(lambda _: desk.claim(2), range(16)) for one in found]

    assert len(claimed) == 1


def claim_and_end(desk: JobUseCases, chance: random.Random, *, rounds: int) -> list[str]:
    """Claims of random providers, and ends of what they took; returns the ids of all jobs claimed."""
    held, claimed = list[Job](), list[str]()
    for left in reversed(range(rounds)):
        only = chance.sample(("procedural", "paid", "spare"), chance.randint(1, 3))
        held += [one.job for one in desk.claim(chance.randint(1, 4), only=only)]
        assert desk.sql(BEYOND) == []
        while len(held) > (chance.randrange(3) if left else 0):
            job = held.pop()
            desk.cancel(job.id, tenant=job.tenant)
            claimed.append(job.id)
    return claimed


def test_limits_hold_whoever_claims_and_ends_at_once(desk: JobUseCases) -> None:
    desk.register(FREE, replace(PAID, max_concurrency=3), SPARE)
    for tenant, limit in LIMITS.items():
        desk.sql("INSERT INTO tenant_load (tenant, max_in_flight) VALUES (:t, :n)", t=tenant, n=limit)
    for provider, tenant in itertools.product(("procedural", "paid", "spare"), ("one", "three", "many")):
        for _ in range(6):
            desk.create(tenant=tenant, provider=provider)
    with ThreadPoolExecutor(4) as threads:
        chances = [random.Random(number) for number in range(4)]
        claimed = [id_ for ids in threads.map(lambda one: claim_and_end(desk, one, rounds=6), chances) for id_ in ids]

    assert len(claimed) == len(set(claimed)) > 15
    assert desk.sql(LOADED_TOO_HIGH) == []
    while found := desk.claim(8, only=("procedural", "paid", "spare")):
        for one in found:
            desk.cancel(one.job.id, tenant=one.job.tenant)
            claimed.append(one.job.id)
    assert len(claimed) == len(set(claimed)) == 54
