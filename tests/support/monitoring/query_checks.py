"""What is wrong with a query, judged by the registry of telemetry: unknown metrics, labels and values of labels."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from common.telemetry.kinds import Metric
from tests.support.monitoring import promql

#: Series that Prometheus makes for each target and alert.
OF_PROMETHEUS = {"up": (), "scrape_duration_seconds": (), "ALERTS": ("alertname", "alertstate", "severity")}
#: Suffixes of a histogram's series, with the labels that each has besides the metric's.
_HISTOGRAM = {"_bucket": ("le",), "_sum": (), "_count": ()}


@dataclass(frozen=True)
class KnownSeries:
    """Series that exist, by name."""

    #: Labels of each series, each with its possible values; no values where any is possible.
    labels: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, metrics: Iterable[Metric], *, others: Iterable[str] = ()) -> "KnownSeries":
        """The series of these metrics, those of Prometheus itself, and `others`, which have no labels."""
        known: dict[str, Mapping[str, tuple[str, ...]]] = {
            name: dict.fromkeys(labels, ()) for name, labels in OF_PROMETHEUS.items()
        }
        known |= {name: {} for name in others}
        for metric in metrics:
            labels = {label_name(label): label.values for label in metric.labels}
            suffixes = _HISTOGRAM if metric.kind == "histogram" else {"": ()}
            for suffix, more in suffixes.items():
                known[metric.name + suffix] = labels | dict.fromkeys(more, ())
        return cls(known)

    def problems(self, query: str) -> list[str]:
        """Returns what is wrong with a query; its variables are replaced already."""
        try:
            expression = promql.parse(query)
        except ValueError as error:
            return [f"cannot be parsed: {error}"]
        found = [
            problem for selector in promql.selectors(expression) for problem in self._problems_of_selector(selector)
        ]
        for grouping in promql.groupings(expression):
            there = {label for selector in grouping.selectors for label in self.labels.get(selector.metric, {})}
            missing = set(grouping.labels) - there - grouping.made - promql.SCRAPE_LABELS
            found += [f"groups by {label}, which nothing in it has" for label in sorted(missing)]
        return found

    def _problems_of_selector(self, selector: promql.MetricSelector) -> Iterable[str]:
        labels = self.labels.get(selector.metric)
        if labels is None:
            yield f"{selector.metric or 'a selector without a name'}: no such metric"
            return
        for name, operator, value in selector.matchers:
            if name in promql.SCRAPE_LABELS:
                continue
            if name not in labels:
                yield f"{selector.metric} has no label {name}"
            elif labels[name] and not any(_matches(operator, value, known) for known in labels[name]):
                yield f"{selector.metric}: {name} never is {value}"


def label_name(attribute: str) -> str:
    """An attribute's name as a label of Prometheus."""
    return attribute.replace(".", "_")


def _matches(operator: str, value: str, known: str) -> bool:
    return re.fullmatch(value, known) is not None if "~" in operator else value == known
