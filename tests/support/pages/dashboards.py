"""Grafana dashboards, `deploy/dashboards/*.json`, made of the descriptions in `deploy/dashboards/panels`.

`python -m tests.support.pages.dashboards` writes them anew.
"""

import json
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[3] / "deploy" / "dashboards"
#: Grafana's own numbering of the format; Grafana 11 and newer read it, and migrate it where needed.
SCHEMA_VERSION = 39
#: Columns of a dashboard; rows that a panel takes.
COLUMNS, HEIGHT = 24, 8
METRICS = {"type": "prometheus", "uid": "${prometheus}"}
#: Data sources of traces, with what finds the spans of one job there.
TRACE_SOURCES: dict[str, dict[str, str]] = {
    "jaeger": {"queryType": "search", "tags": 'calotype.job.id="${job}"', "service": "${service}"},
    "tempo": {"queryType": "traceql", "query": '{ span.calotype.job.id = "${job}" }', "tableType": "traces"},
}
#: What finds one trace by its id there.
TRACE_QUERIES: dict[str, dict[str, str]] = {
    "jaeger": {"query": "${trace}"},
    "tempo": {"queryType": "traceql", "query": "${trace}"},
}


def descriptions() -> dict[str, dict[str, Any]]:
    """Returns the description of each dashboard by the name of its file."""
    return {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("panels/*.yaml"))
    }


def dashboards() -> dict[str, str]:
    """Returns the JSON of each dashboard by the name of its file; one with traces is there once per data source."""
    found: dict[str, str] = {}
    for name, description in descriptions().items():
        if description.get("traces"):
            found |= {f"{name}-{kind}": _rendered(f"{name}-{kind}", description, kind) for kind in TRACE_SOURCES}
        else:
            found[name] = _rendered(name, description, "")
    return found


def _rendered(name: str, description: dict[str, Any], traces: str) -> str:
    dashboard = {
        "uid": f"calotype-{name}",
        "title": f"Calotype: {description['title']}" + (f" ({traces.capitalize()})" if traces else ""),
        "description": description["description"],
        "tags": ["calotype"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "annotations": {"list": []},
        "links": [_link_to_others()],
        "templating": {"list": [_source("prometheus", "prometheus"), *_variables(description, traces)]},
        "panels": _panels(description["rows"], traces),
    }
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def _link_to_others() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Calotype",
        "tags": ["calotype"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _source(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "label": name.capitalize(), "type": "datasource", "query": kind, "current": {}, "hide": 0}


def _variables(description: dict[str, Any], traces: str) -> list[dict[str, Any]]:
    sources = [_source("traces", traces)] if traces else []
    return sources + [_variable(entry) for entry in description.get("variables", [])]


def _variable(entry: dict[str, Any]) -> dict[str, Any]:
    name = entry["name"]
    shared = {"name": name, "label": entry.get("label", name.capitalize()), "hide": 0}
    if "values_of" not in entry:
        value = entry.get("default", "")
        return shared | {"type": "textbox", "query": value, "current": {"text": value, "value": value}}
    query = f"label_values({entry['values_of']}, {name})"
    return shared | {
        "type": "query",
        "datasource": METRICS,
        "definition": query,
        "query": {"query": query, "refId": name},
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
    }


def _panels(rows: list[dict[str, Any]], traces: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        found.append(
            {
                "id": len(found) + 1,
                "type": "row",
                "title": row["title"],
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
                "panels": [],
            }
        )
        top += 1
        width = COLUMNS // len(row["panels"])
        for column, entry in enumerate(row["panels"]):
            position = {"x": column * width, "y": top, "w": width, "h": entry.get("height", HEIGHT)}
            panel = {"id": len(found) + 1, "title": entry["title"], "gridPos": position}
            found.append(panel | _panel(entry, traces))
        top += max(entry.get("height", HEIGHT) for entry in row["panels"])
    return found


def _panel(entry: dict[str, Any], traces: str) -> dict[str, Any]:
    kind = entry.get("type", "timeseries")
    described = {"type": kind, "description": entry["description"]}
    if kind == "text":
        return described | {"options": {"mode": "markdown", "content": entry["content"]}}
    if kind == "traces":
        return {"type": "table", "description": entry["description"]} | _traces(traces, TRACE_SOURCES[traces])
    if kind == "trace":
        return {"type": "traces", "description": entry["description"]} | _traces(traces, TRACE_QUERIES[traces])
    return described | {
        "datasource": METRICS,
        "targets": [_target(number, query, entry) for number, query in enumerate(entry["queries"])],
        "fieldConfig": {"defaults": _defaults(entry, kind), "overrides": []},
        "options": _OPTIONS[kind],
    }


def _traces(kind: str, query: dict[str, str]) -> dict[str, Any]:
    source = {"type": kind, "uid": "${traces}"}
    return {
        "datasource": source,
        "targets": [{"refId": "A", "datasource": source, "limit": 20} | query],
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {"showHeader": True},
    }


def _target(number: int, query: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    is_table = entry.get("type") == "table"
    return {
        "refId": chr(ord("A") + number),
        "datasource": METRICS,
        "editorMode": "code",
        "expr": query["expr"].strip(),
        "legendFormat": query.get("legend", "__auto"),
        "exemplar": bool(query.get("exemplars", False)),
        "range": not is_table,
        "instant": is_table,
        "format": "table" if is_table else "time_series",
    }


def _defaults(entry: dict[str, Any], kind: str) -> dict[str, Any]:
    steps = [{"color": "green", "value": None}]
    steps += [
        {"color": colour, "value": entry[key]} for key, colour in (("warn", "orange"), ("bad", "red")) if key in entry
    ]
    defaults: dict[str, Any] = {
        "unit": entry["unit"],
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        "links": entry.get("links", []),
    }
    if kind == "timeseries":
        style = "dashed" if len(steps) > 1 else "off"
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 10, "thresholdsStyle": {"mode": style}}
        defaults["custom"]["stacking"] = {"mode": "normal" if entry.get("stacked") else "none"}
    return defaults


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value"},
    "table": {"showHeader": True},
}


def main() -> None:
    """Writes all dashboards, and removes those that have no description."""
    rendered = dashboards()
    for path in FOLDER.glob("*.json"):
        if path.stem not in rendered:
            path.unlink()
    for name, text in rendered.items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
