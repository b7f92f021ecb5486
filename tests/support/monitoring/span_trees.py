"""Trees of spans as text: a test writes the tree that it expects, and reads the difference.

A line is a span: service, kind unless it is internal, name, then its main attributes, `ERROR` with the error's type,
`interrupted`, and the spans it links to. `2 x` stands for two equal subtrees; the order of siblings does not matter.
"""

import re
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.trace import SpanKind

from common.telemetry import registry
from tests.support.patience import PATIENCE
from tests.support.servers.otlp_collector import Collector, SeenSpan

#: Attributes that a line shows, with their short names; an empty one shows the value alone.
SHOWN: Mapping[str, str] = {
    registry.HTTP_STATUS: "",
    registry.RPC_STATUS: "",
    registry.CLAIM_NUMBER: "claim",
    registry.GEN_AI_PROVIDER: "provider",
    registry.IMAGE_INDEX: "image",
    registry.CALL_PHASE: "phase",
    registry.TRANSITION: "transition",
    registry.ERROR_STAGE: "stage",
    registry.ERROR_REASON: "reason",
    registry.WEBHOOK_EVENT: "event",
}
#: Longest wait in seconds for the spans of a job that has ended.
SECONDS = PATIENCE / 4
_PACKAGE = re.compile(r"calotype\.\w+\.v1\.")
_TIMES = re.compile(r"(\d+) x ")


@dataclass
class _Node:
    """A span and those below it."""

    line: str
    children: list["_Node"] = field(default_factory=list)

    def text(self, depth: int = 0) -> str:
        """Returns the lines of the subtree, siblings in alphabetical order."""
        below = sorted(child.text(depth + 1) for child in self.children)
        return "\n".join(["    " * depth + self.line, *below])


def tree(collector: Collector, trace_id: str) -> str:
    """Returns the tree of the spans of a trace that have come; a span whose parent has not come is a root."""
    # A message whose job is locked is delivered again: that depends on the load alone.
    spans = [span for span in collector.of_trace(trace_id) if span.attributes.get(registry.VERDICT) != "retry"]
    return _text(collector, spans)


def expect_tree(collector: Collector, trace_id: str, expected: str, *alternatives: str) -> list[SeenSpan]:
    """Waits until the spans of a trace are this tree or an alternative, and returns them; fails with the difference."""
    wanted, deadline = [normalized(text) for text in (expected, *alternatives)], time.monotonic() + SECONDS
    while tree(collector, trace_id) not in wanted and time.monotonic() < deadline:
        collector.wait_for_more(trace_id, seconds=1.0)
    found = tree(collector, trace_id)
    assert found == (found if found in wanted else wanted[0])
    return collector.of_trace(trace_id)


def normalized(expected: str) -> str:
    """Returns a written tree with its siblings in alphabetical order, and with each subtree that it counts."""
    roots: list[_Node] = []
    #: The siblings of each depth, once for each copy of their parent.
    places: list[list[list[_Node]]] = [[roots]]
    for line in textwrap.dedent(expected).strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        stripped = line.strip()
        match = _TIMES.match(stripped)
        count, name = (int(match[1]), stripped[match.end() :]) if match else (1, stripped)
        nodes = []
        for siblings in places[depth]:
            copies = [_Node(name) for _ in range(count)]
            siblings += copies
            nodes += copies
        places[depth + 1 :] = [[node.children for node in nodes]]
    return "\n".join(sorted(root.text() for root in roots))


def _text(collector: Collector, spans: Sequence[SeenSpan]) -> str:
    nodes = {span.span_id: _Node(_line(collector, span)) for span in spans}
    roots: list[_Node] = []
    for span in spans:
        parent = nodes.get(span.parent_id)
        (roots if parent is None else parent.children).append(nodes[span.span_id])
    return "\n".join(sorted(root.text() for root in roots))


def _line(collector: Collector, span: SeenSpan) -> str:
    kind = "" if span.kind is SpanKind.INTERNAL else span.kind.name.lower()
    shown = [
        f"{short}={span.attributes[key]}" if short else str(span.attributes[key])
        for key, short in SHOWN.items()
        if key in span.attributes
    ]
    if span.is_error:
        shown.append(f"ERROR={span.attributes.get(registry.ERROR_TYPE)}")
    if span.attributes.get(registry.INTERRUPTED):
        shown.append("interrupted")
    for trace_id, span_id in span.links:
        linked = next((other for other in collector.of_trace(trace_id) if other.span_id == span_id), None)
        shown.append(f"link={'?' if linked is None else _short(linked.name)}")
    return " ".join(filter(None, [span.service.removeprefix("calotype-"), kind, _short(span.name), *shown]))


def _short(name: str) -> str:
    return _PACKAGE.sub("", name)
