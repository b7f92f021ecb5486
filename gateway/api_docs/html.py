"""Pages without scripts, written from what the service knows of itself."""

import json
from html import escape
from typing import Any

from gateway.problems.reasons import entry

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
code, pre { font: 14px/1.4 ui-monospace, monospace; background: #f4f1ea; } pre { padding: .75rem; overflow-x: auto; }
details { border-top: 1px solid #ddd; padding: .5rem 0; } summary { cursor: pointer; }
.method { display: inline-block; width: 4.5rem; font-weight: 600; } dt { font-weight: 600; } a { color: #6b3d00; }
"""


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>{body}</body></html>'
    )


def problem(reason: str) -> str:
    """What one reason means."""
    meaning = entry(reason)
    facts = (
        ("Reason", reason),
        ("Code", meaning.code),
        ("HTTP status", str(meaning.status)),
        ("Can asking again help", "yes" if meaning.retryable else "no"),
    )
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return _page(meaning.title, f"<h1>{escape(meaning.title)}</h1><p>{escape(meaning.advice)}</p><dl>{rows}</dl>")


def documentation(document: dict[str, Any]) -> str:
    """Every call with parameters, bodies and answers."""
    info = document["info"]
    calls = "".join(
        _call(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    head = f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['summary'])}</p>"
    link = '<p>The whole contract: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>'
    return _page(info["title"], head + link + calls)


def _call(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(_parameter(one) for one in operation.get("parameters", ()))
    sent = "".join(
        f"<h4>Body</h4>{_example(shape)}" for shape in operation.get("requestBody", {}).get("content", {}).values()
    )
    answers = "".join(_answer(status, told) for status, told in operation["responses"].items())
    return (
        f'<details><summary><span class="method">{escape(method.upper())}</span><code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary><p>{escape(operation.get('description', ''))}</p>"
        f"<dl>{parameters}</dl>{sent}<h4>Answers</h4>{answers}</details>"
    )


def _parameter(one: dict[str, Any]) -> str:
    name, place, words = escape(one["name"]), escape(one["in"]), escape(one.get("description", ""))
    return f"<dt><code>{name}</code> ({place})</dt><dd>{words}</dd>"


def _answer(status: str, told: dict[str, Any]) -> str:
    shown = "".join(
        _example(shape) for kind, shape in told.get("content", {}).items() if kind != "application/problem+json"
    )
    return f"<p><strong>{escape(status)}</strong> {escape(told['description'])}</p>{shown}"


def _example(shape: dict[str, Any]) -> str:
    example = shape.get("example")
    if example is None:
        return ""
    written = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
    return f"<pre>{escape(written)}</pre>"
