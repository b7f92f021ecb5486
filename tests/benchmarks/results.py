"""What a run measured: medians of rounds with their spread, as JSON and as tables in Markdown."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One quantity, measured in several rounds or by many samples."""

    #: Part of the benchmark, such as `pipeline`.
    part: str
    #: What was measured.
    name: str
    #: Unit of the values.
    unit: str
    #: A value per round.
    values: Sequence[float]
    #: Under which circumstances, such as the number of tenants.
    labels: Mapping[str, str | int] = field(default_factory=dict)
    #: What a reader must know to judge it.
    note: str = ""

    @property
    def median(self) -> float:
        """Median of the rounds; not a number without any."""
        return statistics.median(self.values) if self.values else float("nan")

    @property
    def spread(self) -> str:
        """Smallest and largest value, or "" when there is one round."""
        return f"{number(min(self.values))} to {number(max(self.values))}" if len(self.values) > 1 else ""


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns the smallest value that at least `percent` of the values do not exceed. There must be a value."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]


def percentiles(part: str, name: str, samples: Sequence[float], **labels: str | int) -> list[Measurement]:
    """Returns the percentiles 50, 95 and 99 of samples in milliseconds."""
    return [
        Measurement(part=part, name=f"{name}, p{p}", unit="ms", values=[percentile(samples, p)], labels=labels)
        for p in (50, 95, 99)
    ]


def number(value: float) -> str:
    """Returns a value with three significant digits, and no more than one that matters."""
    if value != value:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def machine() -> dict[str, str | int | float]:
    """What the figures depend on: the machine, its load before the run, and the date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "processors": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def markdown(about: Mapping[str, object], measured: Iterable[Measurement]) -> str:
    """Returns tables, one for each part."""
    lines = ["# Benchmark", "", ", ".join(f"{name} {value}" for name, value in about.items()), ""]
    parts: dict[str, list[Measurement]] = {}
    for one in measured:
        parts.setdefault(one.part, []).append(one)
    for part, ones in parts.items():
        lines += [f"## {part}", "", "| what | median | unit | smallest to largest | rounds |", "| --- | ---: | --- | --- | ---: |"]
        lines += [f"| {title(one)} | {number(one.median)} | {one.unit} | {one.spread} | {len(one.values)} |" for one in ones]
        notes = dict.fromkeys(f"{one.labels.get('of', one.name)}: {one.note}" for one in ones if one.note)
        lines += ["", *(f"- {note}" for note in notes), ""] if notes else [""]
    return "\n".join(lines)


def title(one: Measurement) -> str:
    """Returns the name with its labels."""
    labels = ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else str(value) for name, value in one.labels.items()
    )
    return f"{one.name} ({labels})" if labels else one.name


def write(folder: Path, about: Mapping[str, object], measured: Sequence[Measurement]) -> None:
    """Writes `results.json` and `table.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"about": dict(about), "measurements": [asdict(one) | {"median": one.median} for one in measured]}
    (folder / "results.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    (folder / "table.md").write_text(markdown(about, measured), encoding="utf-8")
