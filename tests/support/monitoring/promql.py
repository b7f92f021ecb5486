"""What a PromQL query refers to: metrics, matchers and labels to group by."""

from dataclasses import dataclass

import promql_parser as promql

#: Labels that Prometheus itself adds to each series and alert.
SCRAPE_LABELS = frozenset({"job", "instance"})


@dataclass(frozen=True, kw_only=True)
class MetricSelector:
    """A metric that a query reads."""

    #: Name of the series, such as `calotype_http_request_duration_seconds_bucket`.
    metric: str
    #: Label, operator (`=`, `!=`, `=~`, `!~`) and value of each matcher.
    matchers: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class LabelGrouping:
    """Labels that an aggregation keeps or drops, with what it aggregates."""

    #: Labels of `by` or `without`.
    labels: tuple[str, ...]
    #: What is aggregated.
    selectors: tuple[MetricSelector, ...]
    #: Labels that `label_replace` and `label_join` make within it.
    made: frozenset[str]


def parse(query: str) -> promql.Expr:
    """Returns the query's syntax tree. Raises `ValueError` with the parser's message."""
    return promql.parse(query)


def selectors(expression: promql.Expr) -> tuple[MetricSelector, ...]:
    """Returns every metric that an expression reads, in order."""
    return tuple(_selector(node) for node in _nodes(expression) if isinstance(node, promql.VectorSelector))


def groupings(expression: promql.Expr) -> tuple[LabelGrouping, ...]:
    """Returns every `by` and `without` of an expression, and `on` and `group_left` of its binary operators."""
    found = []
    for node in _nodes(expression):
        labels: list[str] = []
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            labels = list(node.modifier.labels)
        elif isinstance(node, promql.BinaryExpr) and node.modifier is not None:
            matching = node.modifier.matching
            labels = [] if matching is None else list(matching.labels)
        if labels:
            found.append(LabelGrouping(labels=tuple(labels), selectors=selectors(node), made=_made(node)))
    return tuple(found)


def _made(expression: promql.Expr) -> frozenset[str]:
    calls = (node for node in _nodes(expression) if isinstance(node, promql.Call))
    return frozenset(call.args[1].val for call in calls if call.func.name in ("label_replace", "label_join"))


def _selector(node: promql.VectorSelector) -> MetricSelector:
    matchers = tuple((matcher.name, _OPERATORS[str(matcher.op)], matcher.value) for matcher in node.matchers.matchers)
    return MetricSelector(metric=node.name or "", matchers=matchers)


_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def _nodes(expression: promql.Expr) -> list[promql.Expr]:
    found: list[promql.Expr] = []
    promql.walk(expression, found.append)
    return found
