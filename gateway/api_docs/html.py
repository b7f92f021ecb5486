"""HTML pages: the API documentation, whose script sends requests, and the meaning of each reason."""

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from calotype.error_reasons import Reason

from gateway.api_docs import field_tables
from gateway.problems.reasons import entry

_REF = "#/components/schemas/"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
code, pre { font: 14px/1.4 ui-monospace, monospace; background: #f4f1ea; } pre { padding: .75rem; overflow-x: auto; }
details { border-top: 1px solid #ddd; padding: .5rem 0; } summary { cursor: pointer; } a { color: #6b3d00; }
.method { display: inline-block; width: 4.5rem; font-weight: 600; } dt { font-weight: 600; } td p { margin: 0 0 .5rem; }
table { border-collapse: collapse; width: 100%; } th, td { border: 1px solid #ddd; padding: .25rem .5rem; }
th, td { text-align: left; vertical-align: top; } td:first-child { white-space: nowrap; }
td:nth-child(3) { min-width: 9rem; overflow-wrap: anywhere; } td:last-child { min-width: 20rem; }
.try-it { background: #f4f1ea; padding: .5rem .75rem; } .try-it pre:empty { display: none; }
.try-it pre { background: #fff; max-height: 30rem; overflow: auto; }
textarea { width: 100%; box-sizing: border-box; font: 14px/1.4 ui-monospace, monospace; }
"""
#: What the policy allows as a style sheet: exactly the one of these pages.
STYLE_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
#: The script of the documentation, and the path that serves it.
SCRIPT_PATH = "/docs/try-it.js"
SCRIPT = (Path(__file__).parent / "try_it.js").read_text(encoding="utf-8")


def _page(title: str, body: str, *, head: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>{head}</head>'
        f"<body>{body}</body></html>"
    )


def problem(reason: Reason) -> str:
    """Returns the page that explains a reason."""
    meaning = entry(reason)
    facts = (
        ("Reason", reason),
        ("Code", meaning.code),
        ("HTTP status", str(meaning.status)),
        ("Can the same request succeed later", "yes" if meaning.retryable else "no"),
    )
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    advice = field_tables.text(meaning.advice)
    return _page(meaning.title, f"<h1>{escape(meaning.title)}</h1>{advice}<dl>{rows}</dl>")


def documentation(document: dict[str, Any]) -> str:
    """Returns the page of an OpenAPI document: every operation by tag, then every type."""
    info, schemas = document["info"], document["components"]["schemas"]
    head = (
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{escape(info['summary'])}</p>"
        f"{field_tables.text(info['description'])}"
        '<p>The whole contract: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>'
    )
    operations = "".join(
        f"<h2>{escape(tag['name'])}</h2>{field_tables.text(tag['description'])}{_operations(document, tag['name'])}"
        for tag in document["tags"]
    )
    headers = "".join(_header(name, header) for name, header in document["components"]["headers"].items())
    types = "".join(_type(name, schema) for name, schema in schemas.items())
    body = f"{head}{operations}<h2>Response headers</h2><dl>{headers}</dl><h2>Types</h2>{types}"
    return _page(info["title"], body, head=f'<script type="module" src="{SCRIPT_PATH}"></script>')


def _operations(document: dict[str, Any], tag: str) -> str:
    schemas = document["components"]["schemas"]
    return "".join(
        _operation(method, path, operation, schemas)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if tag in operation["tags"]
    )


def _operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    declared = operation.get("parameters", [])
    parameters = f"<h4>Parameters</h4>{field_tables.parameters(declared)}" if declared else ""
    body = operation.get("requestBody", {})
    required = "required" if body.get("required") else "optional"
    sent = "".join(
        f"<h4>Body ({required}): <code>{escape(media_type)}</code></h4>{_content(content, schemas)}"
        for media_type, content in body.get("content", {}).items()
    )
    responses = "".join(_response(status, response, schemas) for status, response in operation["responses"].items())
    name, verb = escape(operation["operationId"]), escape(method.upper())
    return (
        f'<details id="{name}"><summary><span class="method">{verb}</span><code>{escape(path)}</code> '
        f"{escape(operation['summary'])}</summary>"
        f"{field_tables.text(operation['description'])}{parameters}{sent}<h4>Responses</h4>{responses}</details>"
    )


def _response(status: str, response: dict[str, Any], schemas: dict[str, Any]) -> str:
    head = f"<p><strong>{escape(status)}</strong></p>{field_tables.text(response['description'])}"
    content = response.get("content", {})
    if status >= "400":
        # Every error has the same type, which is explained once.
        return head + "".join(_types([content[media_type]["schema"]]) for media_type in content)
    return head + "".join(_content(body, schemas) for body in content.values()) + _headers(response.get("headers", {}))


def _headers(headers: Iterable[str]) -> str:
    names = ", ".join(f'<a href="#header-{escape(name)}">{escape(name)}</a>' for name in headers)
    return f"<p>Headers: {names}</p>" if names else ""


def _header(name: str, header: dict[str, Any]) -> str:
    return f'<dt id="header-{escape(name)}">{escape(name)}</dt><dd>{field_tables.text(header["description"])}</dd>'


def _content(content: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The type of a body, the table of its fields, and the example."""
    events = content.get("x-events", {})
    schema = schemas.get(content["schema"].get("$ref", "").removeprefix(_REF), content["schema"])
    table = field_tables.fields(schema) if "properties" in schema else ""
    names = "".join(
        f"<li><code>{escape(name)}</code>: {field_tables.type_of(event)}</li>" for name, event in events.items()
    )
    types = f"<p>Events</p><ul>{names}</ul>" if events else _types([content["schema"]])
    return types + table + _example(content["example"])


def _types(schemas: Iterable[dict[str, Any]]) -> str:
    return f"<p>{', '.join(field_tables.type_of(schema) for schema in schemas)}</p>"


def _type(name: str, schema: dict[str, Any]) -> str:
    """The section of a named type, to which tables link; open, so that a browser without scripts shows the target."""
    table = field_tables.fields(schema) if "properties" in schema else ""
    return f'<h3 id="{escape(name)}">{escape(name)}</h3>{field_tables.text(schema.get("description", ""))}{table}'


def _example(example: Any) -> str:
    body = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
    return f"<p>Example</p><pre>{escape(body)}</pre>"
