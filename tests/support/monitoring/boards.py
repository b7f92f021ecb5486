"""The dashboards as Grafana would run them: their panels, and their queries with variables replaced."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.pages import dashboards

#: Window of `rate` in a test: long enough for several scrapes, one a second.
RATE_INTERVAL = "15s"
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")
#: Metrics of each process that the client library measures; no labels of theirs are used.
OF_PROCESSES = ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds")
#: What Grafana puts in place of its own variables.
_BUILT_IN = {"__rate_interval": RATE_INTERVAL, "__interval": "1s", "__range": "1h"}


@dataclass(frozen=True, kw_only=True)
class BoardPanel:
    """A panel that shows metrics."""

    #: Name of the dashboard's file.
    board: str
    #: Title, unique in the dashboard.
    title: str
    #: What is normal, and what to do otherwise.
    description: str
    #: Type of the panel, such as `timeseries`.
    type: str
    #: PromQL with Grafana's variables.
    queries: tuple[str, ...]
    #: Whether any of its queries asks for exemplars.
    has_exemplars: bool
    #: Fault without which it has no data; empty for panels that always have.
    needs: str

    @property
    def name(self) -> str:
        """Dashboard and title."""
        return f"{self.board}: {self.title}"

    def substituted(self, **variables: str) -> tuple[str, ...]:
        """Returns its queries with variables replaced: by these values, or else by `.*`, as for `All`."""
        return tuple(substitute(query, variables) for query in self.queries)


def substitute(query: str, variables: dict[str, str]) -> str:
    """Returns a query as Grafana sends it."""
    values = _BUILT_IN | variables
    return _VARIABLE.sub(lambda found: values.get(found[1], ".*"), query)


def board_files() -> list[Path]:
    """Returns the files of all dashboards."""
    return sorted(dashboards.FOLDER.glob("*.json"))


def panels() -> list[BoardPanel]:
    """Returns all panels with metrics, of all dashboards."""
    return [
        _panel(path.stem, panel)
        for path in board_files()
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        if (panel.get("datasource") or {}).get("type") == "prometheus"
    ]


def panel(board: str, title: str) -> BoardPanel:
    """Returns one panel."""
    [found] = [each for each in panels() if (each.board, each.title) == (board, title)]
    return found


def _panel(board: str, panel: dict[str, Any]) -> BoardPanel:
    return BoardPanel(
        board=board,
        title=panel["title"],
        description=panel["description"],
        type=panel["type"],
        queries=tuple(target["expr"] for target in panel["targets"]),
        has_exemplars=any(target["exemplar"] for target in panel["targets"]),
        needs=_needs().get((board, panel["title"]), ""),
    )


@cache
def _needs() -> dict[tuple[str, str], str]:
    return {
        (board, entry["title"]): entry.get("needs", "")
        for board, description in dashboards.descriptions().items()
        for row in description["rows"]
        for entry in row["panels"]
    }
