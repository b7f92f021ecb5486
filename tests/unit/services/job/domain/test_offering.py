"""What generators offer together depends on their files and on who started last, never on who spoke last."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.job.domain.offering import Registration, merge
from services.job.domain.providers import Capabilities, Model, Provider

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = st.integers(0, 4)
OFFERS = st.lists(
    st.builds(
        lambda worker, name, started, most, rate, timeout, default: Registration(
            worker=worker,
            provider=Provider(
                name=name,
                kind="replicate",
                is_default=default,
                default_model=worker,
                max_concurrency=most,
                requests_per_minute=rate,
                timeout_seconds=timeout,
            ),
            started_at=NOW + timedelta(seconds=started),
            registered_at=NOW,
        ),
        st.sampled_from("abc"),
        st.sampled_from(["flux", "sketch"]),
        st.integers(0, 3),
        LIMITS,
        LIMITS,
        st.integers(1, 600),
        st.booleans(),
    ),
    unique_by=lambda one: (one.worker, one.provider.name),
    min_size=1,
)


@given(OFFERS.flatmap(lambda offers: st.tuples(st.just(offers), st.permutations(offers))))
def test_the_order_in_which_workers_register_makes_no_difference(
    both: tuple[list[Registration], list[Registration]],
) -> None:
    offers, shuffled = both
    later = [replace(one, registered_at=NOW + timedelta(seconds=at)) for at, one in enumerate(shuffled)]

    assert [one.provider for one in merge(offers)] == [one.provider for one in merge(later)]


@given(OFFERS)
def test_no_limit_of_anybody_is_exceeded(offers: list[Registration]) -> None:
    merged = {one.provider.name: one.provider for one in merge(offers)}

    for one in (each.provider for each in offers):
        for name in ("max_concurrency", "requests_per_minute"):
            limit, together = getattr(one, name), getattr(merged[one.name], name)
            assert not limit or 0 < together <= limit


@given(OFFERS)
def test_no_call_of_anybody_is_taken_to_be_over_before_its_time(offers: list[Registration]) -> None:
    for one in merge(offers):
        of_it = [each.provider.timeout_seconds for each in offers if each.provider.name == one.provider.name]

        assert one.provider.timeout_seconds == max(of_it)


@given(OFFERS)
def test_the_worker_that_started_last_describes_a_provider(offers: list[Registration]) -> None:
    for one in merge(offers):
        of_it = [each for each in offers if each.provider.name == one.provider.name]
        newest = max(each.started_at for each in of_it)

        assert one.provider.default_model in {each.worker for each in of_it if each.started_at == newest}


@given(OFFERS)
def test_there_is_one_default_where_anybody_names_one(offers: list[Registration]) -> None:
    assert sum(one.provider.is_default for one in merge(offers)) == any(one.provider.is_default for one in offers)


def test_what_an_older_worker_would_drop_is_not_offered_until_it_is_gone() -> None:
    able = Capabilities(
        backgrounds=("transparent", "auto"), output_compression=True, moderations=("low",), input_fidelities=("high",)
    )
    newer = Registration(
        worker="b",
        provider=Provider(name="gpt", kind="openai", is_default=True, default_model="m", capabilities=able),
        started_at=NOW + timedelta(seconds=1),
        registered_at=NOW,
    )
    older = replace(
        newer,
        worker="a",
        started_at=NOW,
        provider=replace(newer.provider, capabilities=Capabilities(backgrounds=("auto",))),
    )

    assert merge([older, newer])[0].provider.capabilities == Capabilities(backgrounds=("auto",))
    assert merge([newer])[0].provider.capabilities == able


def test_what_an_older_worker_would_drop_of_a_model_is_not_offered_either() -> None:
    able = Capabilities(backgrounds=("transparent", "auto"), moderations=("low",))
    own = Model(name="m", capabilities=able)
    newer = Registration(
        worker="b",
        provider=Provider(name="gpt", kind="openai", is_default=True, default_model="m", models=(own,)),
        started_at=NOW + timedelta(seconds=1),
        registered_at=NOW,
    )
    older = replace(newer, worker="a", started_at=NOW, provider=replace(newer.provider, models=(Model(name="m"),)))

    assert merge([older, newer])[0].provider.as_model("m").capabilities == Capabilities()
    assert merge([newer])[0].provider.as_model("m").capabilities == able


@pytest.mark.parametrize("free", [(True, True), (True, False), (False, True)])
def test_a_provider_is_free_where_it_is_so_at_each_worker(free: tuple[bool, bool]) -> None:
    told = [
        Registration(
            worker=str(number),
            provider=Provider(
                name="drawn",
                kind="procedural",
                is_default=True,
                default_model="m",
                capabilities=Capabilities(free=one),
            ),
            started_at=NOW + timedelta(seconds=number),
            registered_at=NOW,
        )
        for number, one in enumerate(free)
    ]

    assert merge(told)[0].provider.capabilities.free is all(free)


def test_a_model_costs_what_the_dearest_file_says_until_its_worker_is_gone() -> None:
    newer = Registration(
        worker="b",
        provider=Provider(
            name="gpt",
            kind="openai",
            is_default=True,
            default_model="m",
            models=(Model(name="m", price_micros_per_image=3), Model(name="unpriced")),
        ),
        started_at=NOW + timedelta(seconds=1),
        registered_at=NOW,
    )
    dearer = (Model(name="m", price_micros_per_image=7), Model(name="unpriced", price_micros_per_image=1))
    older = replace(newer, worker="a", started_at=NOW, provider=replace(newer.provider, models=dearer))

    assert [one.price_micros_per_image for one in merge([older, newer])[0].provider.models] == [7, None]
    assert [one.price_micros_per_image for one in merge([newer])[0].provider.models] == [3, None]
