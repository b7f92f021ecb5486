"""Dashboards are what their descriptions say, ask only for what exists, and explain each panel."""

import itertools
import json
import re
from collections import Counter
from typing import Any

import pytest
import yaml

from common.telemetry import metrics, registry
from tests.support.monitoring import boards
from tests.support.monitoring.boards import BoardPanel
from tests.support.monitoring.query_checks import KnownSeries
from tests.support.pages import dashboards

KNOWN = KnownSeries.of(metrics.DECLARED.values(), others=boards.OF_PROCESSES)
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in boards.board_files()
}
PANELS = boards.panels()


def test_the_files_are_current() -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in boards.board_files()}

    assert files == dashboards.dashboards(), "run python -m tests.support.pages.dashboards"


def test_every_metric_is_shown_by_a_panel() -> None:
    asked = {name for panel in PANELS for query in panel.queries for name in re.findall(r"calotype_\w+", query)}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} | asked

    assert metrics.DECLARED.keys() - shown == set()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.name)
def test_a_panel_asks_for_what_exists(panel: BoardPanel) -> None:
    assert [problem for query in panel.substituted() for problem in KNOWN.problems(query)] == []


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.name)
def test_a_panel_says_what_is_normal_and_what_to_do(panel: BoardPanel) -> None:
    assert "Normal: " in panel.description
    assert "Otherwise: " in panel.description


def test_a_panel_of_durations_shows_exemplars() -> None:
    without = [panel.name for panel in PANELS if "histogram_quantile" in str(panel.queries) and not panel.has_exemplars]

    assert without == []


@pytest.mark.parametrize("name", BOARDS)
def test_titles_and_numbers_are_unique_and_panels_do_not_overlap(name: str) -> None:
    shown = BOARDS[name]["panels"]
    cells = Counter(
        cell
        for position in (panel["gridPos"] for panel in shown)
        for cell in itertools.product(
            range(position["x"], position["x"] + position["w"]), range(position["y"], position["y"] + position["h"])
        )
    )

    assert max(Counter(panel["id"] for panel in shown).values()) == 1
    assert max(Counter(panel["title"] for panel in shown).values()) == 1
    assert max(cells.values()) == 1
    assert max(x for x, _ in cells) < dashboards.COLUMNS


@pytest.mark.parametrize("name", BOARDS)
def test_data_sources_are_variables(name: str) -> None:
    sources = {f"${{{each['name']}}}" for each in BOARDS[name]["templating"]["list"] if each["type"] == "datasource"}
    shown = [panel["datasource"]["uid"] for panel in BOARDS[name]["panels"] if "datasource" in panel]

    assert shown
    assert set(shown) <= sources


@pytest.mark.parametrize("name", BOARDS)
def test_links_lead_to_dashboards_that_exist(name: str) -> None:
    links = [
        link["url"].partition("?")[0].removeprefix("/d/")
        for panel in BOARDS[name]["panels"]
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
    ]

    assert set(links) <= {board["uid"] for board in BOARDS.values()}


def test_identifiers_are_unique() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)


@pytest.mark.parametrize("kind", dashboards.TRACE_SOURCES)
def test_the_board_of_one_job_finds_its_traces_by_the_job_s_id(kind: str) -> None:
    board = BOARDS[f"job-{kind}"]
    [target] = [target for panel in board["panels"] if panel["type"] == "table" for target in panel["targets"]]
    variables = {each["name"] for each in board["templating"]["list"]}

    assert registry.JOB_ID in json.dumps(target)
    assert "${job}" in json.dumps(target)
    assert {"traces", "job"} <= variables


@pytest.mark.parametrize("kind", dashboards.TRACE_SOURCES)
def test_an_exemplar_leads_to_its_trace_on_the_board_of_one_job(kind: str) -> None:
    sources = yaml.safe_load((dashboards.FOLDER / "grafana" / "datasources.yaml").read_text(encoding="utf-8"))
    by_type = {source["type"]: source for source in sources["datasources"]}
    [destination] = by_type["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    uid, _, query = destination["url"].removeprefix("/d/").partition("?")
    board = BOARDS[f"job-{kind}"]
    [target] = [target for panel in board["panels"] if panel["type"] == "traces" for target in panel["targets"]]

    assert destination["name"] == "trace_id"
    assert uid in {board["uid"] for board in BOARDS.values()}
    assert query == "var-trace=$${__value.raw}"
    assert target["query"] == "${trace}"
    assert "trace" in {each["name"] for each in board["templating"]["list"]}
    assert kind in by_type
