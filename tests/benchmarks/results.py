"""What a run measured: medians of rounds with their spread, as JSON and as tables in Markdown."""

import json
import math
import os
import platform
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

#: Parts whose tables have a column for each circumstance.
WIDE = ("growth", "growth, rows read", "memory", "peers", "watchers", "costs")


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
    #: Samples of which a value is a percentile; 0 for other quantities.
    samples: int = 0
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
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def percentiles(part: str, name: str, samples: Sequence[float], **labels: str | int) -> list[Measurement]:
    """Returns the percentiles 50, 95 and 99 of samples in milliseconds."""
    return [
        Measurement(
            part=part,
            name=f"{name}, p{percent}",
            unit="ms",
            values=[percentile(samples, percent)],
            samples=len(samples),
            labels=labels,
        )
        for percent in (50, 95, 99)
    ]


def number(value: float) -> str:
    """Returns a value with about three significant digits, two below 1; "-" for none."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.2g}"


def machine() -> dict[str, str | int | float]:
    """What the figures depend on: the machine, its load before the run, and the date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "processors": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
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
        lines += [f"## {part}", "", *(_wide(ones) if part in WIDE else _long(ones)), ""]
        notes = dict.fromkeys(f"- {one.labels.get('of', one.name)}: {one.note}" for one in ones if one.note)
        lines += [*notes, ""] if notes else []
    return "\n".join(lines)


def _long(ones: Sequence[Measurement]) -> Iterator[str]:
    """A row for each quantity."""
    yield "| what | median | unit | smallest to largest | rounds or samples |"
    yield "| --- | ---: | --- | --- | ---: |"
    for one in ones:
        count = f"{one.samples} samples" if one.samples else str(len(one.values))
        yield f"| {title(one)} | {number(one.median)} | {one.unit} | {one.spread} | {count} |"


def _wide(ones: Sequence[Measurement]) -> Iterator[str]:
    """A row for each name, a column for each circumstance."""
    columns = list(dict.fromkeys(_labels(one) for one in ones))
    yield f"| median (smallest to largest) | unit | {' | '.join(columns)} |"
    yield f"| --- | --- |{' ---: |' * len(columns)}"
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in ones:
        cell = number(one.median) + (f" ({one.spread})" if one.spread else "")
        rows.setdefault((one.name, one.unit), {})[_labels(one)] = cell
    for (name, unit), cells in rows.items():
        yield f"| {name} | {unit} | {' | '.join(cells.get(column, '') for column in columns)} |"


def title(one: Measurement) -> str:
    """Returns the name with its labels."""
    labels = _labels(one)
    return f"{one.name} ({labels})" if labels else one.name


def _labels(one: Measurement) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else str(value) for name, value in one.labels.items()
    )


def write(folder: Path, about: Mapping[str, object], measured: Sequence[Measurement]) -> None:
    """Writes `results.json` and `table.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"about": dict(about), "measurements": [asdict(one) | {"median": one.median} for one in measured]}
    (folder / "results.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    (folder / "table.md").write_text(markdown(about, measured), encoding="utf-8")
