"""What a run is judged by, as ratios of figures of the same run."""

from collections.abc import Iterator, Sequence

from tests.benchmarks.results import Measurement

#: Processes of the project, without the servers.
OWN = ("gateway", "job", "generator", "uploader", "notifier")
#: Operations that must not become slower with jobs and tenants, and the circumstances that are compared.
FLAT = ("claim 1", "claim 16", "get,", "list,")
SMALL, LARGE = {"queued": 1_000, "tenants": 1}, {"queued": 1_000_000, "tenants": 1_000}


def compare(found: Sequence[Measurement]) -> list[Measurement]:
    """Returns the ratios that this run has the figures for; the bound of each is in its name."""
    return [
        Measurement(part="targets", name=name, unit=unit, values=[value])
        for compared in (_throughput, _latency, _processes, _flatness)
        for name, unit, value in compared(found)
    ]


def _medians(found: Sequence[Measurement], part: str, name: str, **labels: object) -> list[float]:
    return [
        one.median
        for one in found
        if (one.part, one.name) == (part, name) and one.values and labels.items() <= dict(one.labels).items()
    ]


Found = Iterator[tuple[str, str, float]]


def _throughput(found: Sequence[Measurement]) -> Found:
    for jobs in _medians(found, "pipeline", "jobs"):
        if peers := _medians(found, "peers", "jobs"):
            yield "jobs a second, of the best peer's (at least 1, aim 1.5)", "", jobs / max(peers)
        for uploads in _medians(found, "ceilings", "uploads of 64 kB"):
            yield "jobs a second, of the uploads that the store accepts (at least 0.2)", "", jobs / uploads


def _latency(found: Sequence[Measurement]) -> Found:
    for ours in _medians(found, "latency", "submission to response, p50"):
        if peers := _medians(found, "peers", "low load, submission to final row, p50"):
            yield "median latency at low load, of the best peer's (at most 2, aim 1)", "", ours / min(peers)
    for lag in _medians(found, "watchers", "event after the response, p99", streams=3_000):
        yield "event lag with 3,000 watchers, p99 (under 100)", "ms", lag


def _processes(found: Sequence[Measurement]) -> Found:
    own = [_medians(found, "processor time per job", "cpu", of=name) for name in OWN]
    if any(own):
        yield "processor time of our processes per job (at most 10, aim 6)", "ms", sum(sum(of) for of in own)
    for name in OWN:
        for used in _medians(found, "memory", "memory before the first job", of=name):
            yield f"idle memory of {name} (under 80)", "MiB", used


def _flatness(found: Sequence[Measurement]) -> Found:
    names = dict.fromkeys(one.name for one in found if one.part == "growth" and one.name.startswith(FLAT))
    for name in names:
        small, large = (_medians(found, "growth", name, **labels) for labels in (SMALL, LARGE))
        if small and large:
            yield f"{name}: 1,000,000 jobs of 1,000 tenants to 1,000 of one (at most 1.5)", "", large[0] / small[0]
