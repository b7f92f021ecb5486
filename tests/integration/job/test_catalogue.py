"""The catalogue is what generators say, and it has one default."""

from dataclasses import replace

import pytest

from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.store import providers
from tests.support.job_service.use_cases import FREE, PAID, JobUseCases, not_sent


def test_a_job_that_names_no_provider_goes_to_the_default(desk: JobUseCases) -> None:
    assert desk.create().job.provider == "procedural"


def test_a_new_provider_file_takes_the_default_with_it(desk: JobUseCases) -> None:
    desk.register(replace(PAID, is_default=True))

    assert desk.create().job.provider == "paid"


def test_a_generator_without_a_default_leaves_it_where_it_was(desk: JobUseCases) -> None:
    desk.register(replace(PAID, name="another"))

    assert desk.create().job.provider == "procedural"


def test_an_empty_catalogue_asks_to_come_again(desk: JobUseCases) -> None:
    desk.sql("DELETE FROM providers")

    with pytest.raises(Refusal) as refusal:
        desk.create()
    assert (refusal.value.reason, refusal.value.retry_after_seconds) == ("SERVICE_UNAVAILABLE", 2)


def test_what_is_registered_again_is_replaced(desk: JobUseCases) -> None:
    desk.register(replace(FREE, default_model="v2"))

    assert desk.create().job.model == "v2"


def silent(desk: JobUseCases, seconds: float, *names: str) -> None:
    """No generator has told of these providers for so long."""
    told = {"s": seconds, "names": list(names)}
    for table in ("providers", "registrations"):
        desk.sql(
            f"UPDATE {table} SET registered_at = registered_at - make_interval(secs => :s) WHERE name = ANY(:names)",
            **told,
        )


def offered(desk: JobUseCases) -> dict[str, Provider]:
    """What new jobs may ask for."""
    return desk.run(providers.offered)


def test_a_provider_that_no_generator_has_any_more_is_not_offered(desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    silent(desk, 91, "paid")

    assert list(offered(desk)) == ["procedural"]
    with pytest.raises(Refusal) as refusal:
        desk.create(provider="paid")
    assert refusal.value.reason == "PROVIDER_NOT_FOUND"
    assert "No generator offers a provider 'paid'" in refusal.value.message
    with pytest.raises(Refusal):
        desk.create(fallback=("paid",))
    # What is under way there goes on.
    desk.release(job, not_sent(call))
    assert desk.begin(desk.claim()[0].job).provider == "paid"


def test_a_provider_that_was_silent_for_one_registration_is_still_offered(desk: JobUseCases) -> None:
    silent(desk, 60, "paid")

    assert desk.create(provider="paid").job.provider == "paid"


def test_jobs_are_taken_while_no_generator_is_there_at_all(desk: JobUseCases) -> None:
    silent(desk, 3600, "paid", "procedural")

    assert desk.create(provider="paid").job.provider == "paid"
    silent(desk, 86_400, "paid", "procedural")
    with pytest.raises(Refusal) as refusal:
        desk.create(provider="paid")
    assert refusal.value.reason == "SERVICE_UNAVAILABLE"


def test_a_provider_that_comes_back_is_offered_again(desk: JobUseCases) -> None:
    silent(desk, 3600, "paid")
    desk.register()

    assert set(offered(desk)) == {"paid", "procedural"}


def test_generators_with_different_files_agree_whoever_registers_last(desk: JobUseCases) -> None:
    before = replace(PAID, max_concurrency=2, requests_per_minute=0, default_model="old")
    after = replace(PAID, max_concurrency=5, requests_per_minute=30, default_model="new", is_default=True)
    desk.register(FREE, before, worker="old", is_starting=True)
    desk.register(replace(FREE, is_default=False), after, worker="new", is_starting=True)
    seen = [offered(desk)]
    desk.register(FREE, before, worker="old")
    seen.append(offered(desk))

    assert [
        (one["paid"].default_model, one["paid"].max_concurrency, one["paid"].requests_per_minute) for one in seen
    ] == [("new", 2, 30)] * 2
    assert [[name for name, one in found.items() if one.is_default] for found in seen] == [["paid"]] * 2


def test_the_new_files_limits_hold_alone_once_the_old_ones_generators_are_gone(desk: JobUseCases) -> None:
    desk.register(FREE, replace(PAID, max_concurrency=2), worker="old", is_starting=True)
    desk.sql("DELETE FROM registrations WHERE worker = 'worker'")
    desk.register(FREE, replace(PAID, max_concurrency=5), worker="new", is_starting=True)
    assert offered(desk)["paid"].max_concurrency == 2
    desk.sql("UPDATE registrations SET registered_at = registered_at - interval '91 s' WHERE worker = 'old'")
    desk.register(FREE, replace(PAID, max_concurrency=5), worker="new")

    assert offered(desk)["paid"].max_concurrency == 5


def test_a_worker_that_starts_anew_offers_what_its_new_file_has(desk: JobUseCases) -> None:
    desk.register(FREE, is_starting=True)
    silent(desk, 91, "paid")

    assert list(offered(desk)) == ["procedural"]
    assert desk.sql("SELECT name FROM registrations") == [("procedural",)]
