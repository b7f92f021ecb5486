"""Charts as SVG, written by hand: bars with their spread, and lines over logarithmic axes."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from tests.benchmarks.results import Measurement, number

WIDTH, MARGIN, BAR = 860, 230, 26
PLOT = WIDTH - MARGIN - 110
COLORS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#718096", "#975a16", "#0987a0")
FONT = 'font-family="sans-serif" font-size="12"'


def bars(heading: str, unit: str, rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Returns a bar of the median for each row, with a line from its smallest to its largest value."""
    rows = [(name, sorted(values)) for name, values in rows if values]
    longest = max((values[-1] for _, values in rows), default=0) or 1
    scale = PLOT / longest
    parts = [_text(10, 20, f"{heading} ({unit})", bold=True)]
    for index, (name, values) in enumerate(rows):
        y, middle = 34 + index * BAR, statistics.median(values)
        parts += [
            _text(MARGIN - 8, y + 14, name, anchor="end"),
            f'<rect x="{MARGIN}" y="{y}" width="{middle * scale:.1f}" height="18" fill="{COLORS[0]}"/>',
            f'<path d="M{MARGIN + values[0] * scale:.1f} {y + 9}H{MARGIN + values[-1] * scale:.1f}" stroke="#1a202c"/>',
            _text(MARGIN + values[-1] * scale + 8, y + 14, number(middle)),
        ]
    return _svg(parts, 44 + len(rows) * BAR)


def lines(heading: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Returns a line for each series of points (x, y), both axes logarithmic. All values must be positive."""
    points = [point for line in series.values() for point in line]
    if not points:
        return _svg([], 20)
    height, left, width = 380, 60, WIDTH - 320
    decades_x = _decades([x for x, _ in points])
    decades_y = _decades([y for _, y in points])

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - decades_x[0]) / (decades_x[-1] - decades_x[0])
        up = (math.log10(y) - decades_y[0]) / (decades_y[-1] - decades_y[0])
        return left + across * width, 30 + height - up * height

    parts = [_text(10, 20, f"{heading} ({unit})", bold=True)]
    for decade in decades_y:
        _, y = at(10.0 ** decades_x[0], 10.0**decade)
        parts += [
            f'<path d="M{left} {y:.1f}h{width}" stroke="#e2e8f0"/>',
            _text(left - 6, y + 4, f"{10.0**decade:g}", anchor="end"),
        ]
    for decade in decades_x:
        x, _ = at(10.0**decade, 10.0 ** decades_y[0])
        parts.append(_text(x, height + 48, f"{10**decade:,}", anchor="middle"))
    for index, (name, line) in enumerate(series.items()):
        color, dash = COLORS[index % len(COLORS)], ' stroke-dasharray="5 3"' if index >= len(COLORS) else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line))
        y = 40 + index * 18
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>',
            f'<path d="M{left + width + 20} {y}h18" stroke="{color}" stroke-width="2"{dash}/>',
            _text(left + width + 44, y + 4, name),
        ]
    return _svg(parts, max(height + 60, 50 + len(series) * 18))


def _decades(values: Sequence[float]) -> range:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return range(low, max(high, low + 1) + 1)


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {FONT}{weight}>{escape(text)}</text>'


def _svg(parts: Sequence[str], height: float) -> str:
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    content = "".join(('<rect width="100%" height="100%" fill="#fff"/>', *parts))
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{content}</svg>\n'


def charts_of(measured: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """Yields the charts of a run, each as a file's name and its content."""
    ours = [("Calotype", one.values) for one in measured if (one.part, one.name) == ("pipeline", "jobs")]
    peers = [(str(one.labels["of"]), one.values) for one in measured if (one.part, one.name) == ("peers", "jobs")]
    if ours or peers:
        yield "jobs-per-second.svg", bars("Jobs a second", "1/s", [*ours, *peers])
    for part, unit in (("processor time per job", "ms"), ("ceilings", "1/s")):
        rows = [(str(one.labels.get("of", one.name)), one.values) for one in measured if one.part == part]
        if rows:
            yield f"{part.replace(' ', '-')}.svg", bars(part.capitalize(), unit, rows)
    gaps = [
        (one.name.removesuffix(", p50"), one.values)
        for one in measured
        if one.part == "latency" and one.name.endswith("p50")
    ]
    if gaps:
        yield "latency.svg", bars("Added latency at low load, median", "ms", gaps)
    grown = [one for one in measured if one.part == "growth" and "queued" in one.labels]
    for tenants in dict.fromkeys(one.labels["tenants"] for one in grown):
        series: dict[str, list[tuple[float, float]]] = {}
        for one in grown:
            if one.labels["tenants"] == tenants and one.median > 0:
                series.setdefault(one.name, []).append((float(one.labels["queued"]), one.median))
        yield f"growth-{tenants}-tenants.svg", lines(f"Growth with queued jobs, {tenants:,} tenants", "ms", series)


def write(folder: Path, measured: Sequence[Measurement]) -> list[str]:
    """Writes the charts; returns the names of the files."""
    names = []
    for name, content in charts_of(measured):
        (folder / name).write_text(content, encoding="utf-8")
        names.append(name)
    return names
