"""Queries of dashboards and rules are judged by what the registry declares."""

import pytest

from common.telemetry.kinds import Attribute, Metric
from tests.support.monitoring.query_checks import KnownSeries

STATE = Attribute("state", "State of a job.", values=("queued", "failed"))
ROUTE = Attribute("http.route", "Path template.")
KNOWN = KnownSeries.of(
    [
        Metric(name="jobs", meaning="Jobs.", kind="gauge", unit="{job}", services=("job",), labels=(STATE,)),
        Metric(name="seconds", meaning="Time.", kind="histogram", unit="s", services=("job",), labels=(ROUTE,)),
    ],
    others=["process_open_fds"],
)


@pytest.mark.parametrize(
    "query",
    [
        'sum by (state) (jobs{state=~"queued|failed", job="x"})',
        "histogram_quantile(0.9, sum by (le, http_route) (rate(seconds_bucket[5m])))",
        "rate(seconds_sum[5m]) / on (http_route, instance) rate(seconds_count[5m])",
        'max by (kind) (label_replace(jobs, "kind", "$1", "state", "(.*)"))',
        'jobs{state!="failed"} > 1 and on (job) up == 1',
        "process_open_fds",
        "1 - vector(1)",
    ],
)
def test_a_query_on_what_exists_has_no_problem(query: str) -> None:
    assert KNOWN.problems(query) == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sum(jobs", "cannot be parsed"),
        ("sum(kk8s)", "kk8s: no such metric"),
        ('{state="queued"}', "a selector without a name: no such metric"),
        ("rate(seconds[5m])", "seconds: no such metric"),
        ('jobs{status="queued"}', "jobs has no label status"),
        ('jobs{state="lost"}', "jobs: state never is lost"),
        ('jobs{state!="lost"}', "jobs: state never is lost"),
        ('jobs{state=~"lost|found"}', "jobs: state never is"),
        ("sum by (route) (jobs)", "groups by route, which nothing in it has"),
        ("sum without (route) (jobs)", "groups by route, which nothing in it has"),
        ("jobs / on (route) jobs", "groups by route, which nothing in it has"),
        ("max_over_time(sum by (route) (jobs)[1h:5m])", "groups by route, which nothing in it has"),
        ("topk(3, -(kk8s))", "kk8s: no such metric"),
    ],
)
def test_what_does_not_exist_is_found(query: str, problem: str) -> None:
    problems = KNOWN.problems(query)

    assert len(problems) == 1
    assert problem in problems[0]
