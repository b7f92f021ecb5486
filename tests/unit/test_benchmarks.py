"""The arithmetic of `make bench`: percentiles, ratios, sizes of an installation, and the simulation of queues."""

import xml.etree.ElementTree as ET

import pytest

from tests.benchmarks import charts, page, sizing, targets
from tests.benchmarks.results import Measurement, markdown, number, percentile, percentiles
from tests.benchmarks.sizing import EARLIER, Station, plan, simulate

PEER = {"of": "a peer"}
RUN = [
    Measurement(part="pipeline", name="jobs", unit="1/s", values=[40, 90, 50]),
    Measurement(part="peers", name="jobs", unit="1/s", values=[100], labels=PEER, note="at least once"),
    Measurement(part="peers", name="jobs", unit="1/s", values=[], labels={"of": "other"}, note="did not run"),
    Measurement(part="ceilings", name="uploads of 64 kB", unit="1/s", values=[200]),
    Measurement(part="growth", name="claim 1", unit="ms", values=[2], labels=targets.SMALL),
    Measurement(part="growth", name="claim 1", unit="ms", values=[3], labels=targets.LARGE),
    Measurement(part="processor time per job", name="cpu", unit="ms", values=[20], labels={"of": "job"}),
]


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (95, 95), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, expected: int) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


def test_a_percentile_of_few_values_is_their_largest() -> None:
    assert [one.values for one in percentiles("latency", "all", [1.0, 5.0])] == [[1.0], [5.0], [5.0]]


def test_a_median_has_its_spread() -> None:
    assert (RUN[0].median, RUN[0].spread) == (50, "40.0 to 90.0")


def test_numbers_have_three_digits() -> None:
    assert [number(value) for value in (12345.6, 12.345, 1.2345, 0.004567, 0.0, float("nan"))] == [
        "12,346",
        "12.3",
        "1.23",
        "0.0046",
        "0",
        "-",
    ]


def test_a_run_is_judged_by_ratios_of_its_own_figures() -> None:
    found = {one.name.partition(" (")[0]: one.median for one in targets.compare(RUN)}

    assert found == {
        "jobs a second, of the best peer's": 0.5,
        "jobs a second, of the uploads that the store accepts": 0.25,
        "claim 1: 1,000,000 jobs of 1,000 tenants to 1,000 of one": 1.5,
        "processor time of our processes per job": 20,
    }


def test_a_peer_that_did_not_run_is_in_the_table_with_its_reason() -> None:
    table = markdown({}, RUN)

    assert "| jobs | 1/s | 100 | - |" in table
    assert "- other: did not run" in table


def test_charts_are_svg() -> None:
    found = dict(charts.charts_of(RUN))

    assert {"jobs-per-second.svg", "growth-1-tenants.svg"} <= set(found)
    for content in found.values():
        ET.fromstring(content)


@pytest.mark.parametrize("name", page.PLACES)
def test_the_page_has_a_place_for_the_tables_of_a_run(name: str) -> None:
    text = page.PAGE.read_text(encoding="utf-8")

    written = page.filled(text, name, "| a table |")

    assert f"<!-- {name} -->\n| a table |\n<!-- end of {name} -->" in written
    assert len(written.splitlines()) <= len(text.splitlines())


def test_a_plan_has_a_reserve_and_slots_for_the_time_of_providers() -> None:
    planned = plan(EARLIER, 6_000, provider_seconds=10)

    # 100 jobs a second take 1.3 s of job-service's processor time, and 1,000 slots.
    assert planned.instances["job"] == 3
    assert planned.instances["generator"] == 105
    assert planned.processors["postgres"] == pytest.approx(0.96)


def test_the_first_limit_is_the_lowest() -> None:
    found = sizing.limits(sizing.cost_of([*RUN]))

    assert found[0] == ("slots of a generator", 96)
    assert ("a process of job", 3_000) in found


def test_nobody_waits_for_a_station_with_many_servers() -> None:
    assert max(simulate([Station(name="any", servers=1_000, visits=[1.0])], rate=10, jobs=1_000)) == 0


def test_waiting_is_as_the_theory_of_queues_says() -> None:
    waited = simulate([Station(name="any", servers=1, visits=[0.5])], rate=1, jobs=50_000)

    # One server, half used: a job waits as long as its service takes, on average.
    assert sum(waited) / len(waited) == pytest.approx(0.5, rel=0.1)
