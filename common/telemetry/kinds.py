"""What the registry of telemetry declares: attributes, spans and metrics."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

from opentelemetry.trace import SpanKind

AttributeType = Literal["string", "int", "double", "boolean", "string[]"]
#: An attribute in the name of a span, such as `{http.route}`.
_PART = re.compile(r"\{([a-z_.]+)\}")


class Attribute(str):
    """Name of an attribute of spans, or of a label of metrics; usable wherever OpenTelemetry takes a name."""

    #: Type of its values.
    type: AttributeType
    #: What it holds, with its unit.
    meaning: str
    #: Its possible values; empty for any. A label of metrics has few.
    values: tuple[str, ...]
    #: Where OpenTelemetry defines it: `http`, `rpc`, `messaging`, `gen_ai`; empty for names of Calotype's own.
    convention: str

    def __new__(
        cls,
        name: str,
        meaning: str,
        *,
        type: AttributeType = "string",  # noqa: A002 - the conventions' word
        values: tuple[str, ...] = (),
        convention: str = "",
    ) -> "Attribute":
        """Declares an attribute."""
        self = super().__new__(cls, name)
        self.type, self.meaning, self.values, self.convention = type, meaning, values, convention
        return self


@dataclass(frozen=True, kw_only=True)
class SpanType:
    """A kind of span."""

    #: Its name; a part in braces is the value of that attribute, one with few values: `{http.request.method}`.
    name: str
    #: What it covers.
    meaning: str
    #: Its place in a call or a message's way.
    kind: SpanKind = SpanKind.INTERNAL
    #: Services that open it.
    services: tuple[str, ...]
    #: Attributes that it may have.
    attributes: tuple[Attribute, ...] = ()

    def title(self, attributes: "Mapping[Attribute, Any]") -> str:
        """Returns the name of a span with these attributes; parts without a value are left out."""
        if self._attributes_in_name is None:
            return self.name
        values = (attributes.get(name) if name else text for text, name in self._attributes_in_name)
        return " ".join(str(value) for value in values if value)

    @cached_property
    def _attributes_in_name(self) -> "tuple[tuple[str, Attribute | None], ...] | None":
        """The words of the name, each with the attribute whose value stands for it; None for a name that is fixed."""
        if "{" not in self.name:
            return None
        words = ((word, _PART.fullmatch(word)) for word in self.name.split())
        return tuple((word, cast("Attribute", found[1]) if found else None) for word, found in words)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric."""

    #: Name in Prometheus, with its unit and, of a counter, `_total`.
    name: str
    #: What it counts or measures.
    meaning: str
    #: How values add up: a counter only grows, a gauge is read, a histogram counts values by size.
    kind: Literal["counter", "gauge", "histogram"]
    #: Unit by UCUM: `s`, `By`, `1`, `{job}`.
    unit: str
    #: Services that have it.
    services: tuple[str, ...]
    #: Its labels.
    labels: tuple[Attribute, ...] = ()
    #: Upper bounds of a histogram's buckets, ascending; empty for other kinds.
    buckets: tuple[float, ...] = ()
