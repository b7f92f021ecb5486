"""The page of spans, attributes and metrics, `docs/telemetry.md`, from their registry.

`python -m tests.support.pages.telemetry` writes the page again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from common.grpc_spans import PERIODIC_CALLS, SERVER_FAULTS
from common.telemetry import registry
from common.telemetry.kinds import Attribute, Metric, SpanType

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "telemetry.md"
TEMPLATE = Path(__file__).parent / "telemetry.template.md"
T = TypeVar("T")


def declared(kind: type[T]) -> list[T]:
    """Returns everything of a kind that the registry declares, in its order."""
    return [value for value in vars(registry).values() if isinstance(value, kind)]


def page() -> str:
    """Returns the whole page."""
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, part in parts().items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text.rstrip() + "\n"


def parts() -> dict[str, str]:
    """Returns the generated parts of the page, by their names in the template."""
    spans = declared(SpanType)
    used = {str(attribute) for span in spans for attribute in span.attributes}
    return {
        "server_faults": ", ".join(f"`{name}`" for name in sorted(code.name for code in SERVER_FAULTS)),
        "periodic_calls": ", ".join(f"`{name.rpartition('.')[2]}`" for name in sorted(PERIODIC_CALLS)),
        "spans": _table(("span", "kind", "service", "meaning", "attributes"), map(_span, spans)),
        "attributes": _table(
            ("attribute", "type", "meaning", "values"),
            (_attribute(attribute) for attribute in declared(Attribute) if str(attribute) in used),
        ),
        "metrics": _metrics(),
    }


def _span(span: SpanType) -> tuple[str, ...]:
    names = ", ".join(f"`{attribute}`" for attribute in span.attributes)
    return f"`{span.name}`", span.kind.name.lower(), ", ".join(span.services), span.meaning, names


def _attribute(attribute: Attribute) -> tuple[str, ...]:
    return f"`{attribute}`", attribute.type, attribute.meaning, ", ".join(f"`{value}`" for value in attribute.values)


def _metrics() -> str:
    metrics = declared(Metric)
    if not metrics:
        return ""
    rows = (
        (
            f"`{metric.name}`",
            metric.kind,
            f"`{metric.unit}`",
            ", ".join(metric.services),
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.meaning,
        )
        for metric in metrics
    )
    labels = {str(label): label for metric in metrics for label in metric.labels}
    tables = [
        "## Metrics",
        _table(("metric", "kind", "unit", "service", "labels", "meaning"), rows),
        "## Labels of metrics",
        _table(("label", "type", "meaning", "values"), map(_attribute, labels.values())),
    ]
    return "\n\n".join(tables)


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main() -> None:
    """Writes the page again."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
