"""Tables of fields for the HTML pages: name, type, bounds, default and description, from a JSON schema."""

import json
import re
from html import escape
from typing import Any

from gateway.api_docs import enums
from gateway.schemas.requests import LINES, PLAIN_LINE, SINGLE_LINE

Schema = dict[str, Any]
_REF = "#/components/schemas/"
_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_ENUMS = {f"{_REF}{name}": schema for name, schema in enums.components().items()}
#: Schema keys of lower and upper bounds, with the unit that the page shows.
_RANGES = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
    ("minProperties", "maxProperties", " entries"),
)


def text(markdown: str) -> str:
    """Returns plain text with code, bold text and lists of Markdown as HTML; everything else is escaped."""
    blocks = [_list(block) if block.startswith("- ") else f"<p>{_inline(block)}</p>" for block in _blocks(markdown)]
    return "".join(blocks)


def _blocks(markdown: str) -> list[str]:
    return [block.strip() for block in markdown.split("\n\n") if block.strip()]


def _list(block: str) -> str:
    items = [f"<li>{_inline(item)}</li>" for item in re.split(r"(?:^|\n)- ", block) if item]
    return f"<ul>{''.join(items)}</ul>"


def _inline(line: str) -> str:
    return _BOLD.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(line)))


def fields(schema: Schema) -> str:
    """Returns the table of an object's fields."""
    required = schema.get("required", ())
    rows = [(name, field, name in required, "") for name, field in schema["properties"].items()]
    return _table(rows)


def parameters(declared: list[Schema]) -> str:
    """Returns the table of an operation's parameters."""
    rows = [
        (item["name"], item["schema"] | {"description": item["description"]}, item.get("required", False), item["in"])
        for item in declared
    ]
    return _table(rows)


def _table(rows: list[tuple[str, Schema, bool, str]]) -> str:
    head = "".join(f"<th>{title}</th>" for title in ("Name", "Type", "Bounds", "Default", "Description"))
    return f"<table><tr>{head}</tr>{''.join(_row(*row) for row in rows)}</table>"


def _row(name: str, schema: Schema, is_required: bool, parameter_location: str) -> str:
    location_html = f"<br><small>{escape(parameter_location)}</small>" if parameter_location else ""
    default = "required" if is_required else _default(schema)
    cells = (f"<code>{escape(name)}</code>{location_html}", type_of(schema), bounds(schema), default)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{text(schema.get('description', ''))}</td></tr>"


def _default(schema: Schema) -> str:
    if "default" not in schema:
        return ""
    return f"<code>{escape(json.dumps(schema['default']))}</code>"


def type_of(schema: Schema) -> str:
    """Returns the type of a value as HTML; named types are links to their section of the page."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(_REF))
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(type_of(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema['items'])}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"object of {type_of(values)}" if isinstance(values, dict) else "object"
    form = schema.get("format") or schema.get("contentEncoding")
    return escape(f"{schema.get('type', 'any')} ({form})" if form else schema.get("type", "any"))


def bounds(schema: Schema) -> str:
    """Returns the bounds of a value as HTML, those of list items included; empty if there are none."""
    parts = [_range(schema, *keys) for keys in _RANGES]
    if "const" in schema:
        parts.append(f"<code>{escape(json.dumps(schema['const']))}</code>")
    if (named := _ENUMS.get(schema.get("$ref", ""))) is not None:
        parts.append("one of " + ", ".join(f"<code>{escape(value)}</code>" for value in named["enum"]))
    if (pattern := schema.get("pattern")) is not None:
        # Every text excludes control characters; only the pattern of one line is worth showing.
        parts.append(
            {LINES: "", SINGLE_LINE: "one line", PLAIN_LINE: "one line"}.get(
                pattern, f"pattern <code>{escape(pattern)}</code>"
            )
        )
    parts += [bounds(option) for option in schema.get("anyOf", ())]
    if "items" in schema and (of_items := bounds(schema["items"])):
        parts.append(f"each: {of_items}")
    return "; ".join(bound for bound in parts if bound)


def _range(schema: Schema, lower: str, upper: str, unit: str) -> str:
    lowest, highest = schema.get(lower), schema.get(upper)
    if lowest is None and highest is None:
        return ""
    if highest is None:
        return f"at least {_number(lowest)}{unit}"
    if lowest is None:
        return f"at most {_number(highest)}{unit}"
    return f"{_number(lowest)} to {_number(highest)}{unit}"


def _number(value: Any) -> str:
    return f"{value:,}"
