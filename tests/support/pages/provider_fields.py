"""The page `docs/providers/fields.md`: every key of the provider file, from the classes that validate it.

`python -m tests.support.pages.provider_fields` writes the page anew.
"""

import collections.abc
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from services.generator.adapters.providers import kinds
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import PrivateName, Ratio, Size, StatusPattern, Strict
from services.generator.adapters.providers.generic.dotted_paths import DottedPath
from services.generator.adapters.providers.kinds import ProviderFile

Schema = type[BaseModel]

PAGE = Path(__file__).parents[3] / "docs" / "providers" / "fields.md"
_HEAD = """# Keys of the provider file

Every key of the provider file with its type, its default and its meaning.
`python -m tests.support.pages.provider_fields` writes this page from the classes that validate the file
(`services/generator/adapters/providers/`); write nothing into it by hand. What each kind can do and an example are on
the [kinds' pages](README.md). "required": the key has no default. "none": the key may be left out.
"""
_COLUMNS = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
_ENTRY_TITLE = "Entry"
_ENTRY_TEXT = (
    "An entry of the list `providers`. A kind's own section has its settings, and the keys whose default differs. "
    "`not_charged_on` belongs to kinds that call an API over HTTP: all but `procedural` and `diffusers`."
)
#: Types with a form of their own, by name.
_NAMED: tuple[tuple[Any, str], ...] = (
    (Size, "WIDTHxHEIGHT"),
    (Ratio, "WIDTH:HEIGHT"),
    (StatusPattern, "HTTP status"),
    (PrivateName, "host or network"),
    (DottedPath, "dotted path"),
)
_PLAIN = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    Any: "anything",
    Strict: "the kind's settings",
}


def entries() -> Mapping[str, Schema]:
    """Returns the entry class of each kind."""
    return {get_args(entry.model_fields["kind"].annotation)[0]: entry for entry in get_args(kinds.ProviderEntry)}


def shared_schemas() -> list[Schema]:
    """Returns the classes that entries of every kind use, without the entry itself."""
    own = _nested(field for name, field in RemoteEntry.model_fields.items() if name != "settings")
    return list(dict.fromkeys(own))


def schemas_of(kind: str) -> list[Schema]:
    """Returns the settings class of a kind, and the classes that it uses."""
    settings = entries()[kind].model_fields["settings"].annotation
    assert isinstance(settings, type)
    return list(dict.fromkeys([settings, *_nested(settings.model_fields.values())]))


def all_schemas() -> list[Schema]:
    """Returns every class of the provider file, once."""
    of_kinds = [schema for kind in entries() for schema in (entries()[kind], *schemas_of(kind))]
    return list(dict.fromkeys([ProviderFile, RemoteEntry, *shared_schemas(), *of_kinds]))


def page() -> str:
    """Returns the whole page."""
    shared = {schema: _title(schema) for schema in shared_schemas()}
    parts = [
        _HEAD,
        f"## The file\n\n{_single_line(ProviderFile.__doc__)}\n\n{_table(ProviderFile.model_fields, shared)}",
        f"## {_ENTRY_TITLE}\n\n{_ENTRY_TEXT}\n\n{_table(RemoteEntry.model_fields, shared)}",
        *(
            f"## {title}\n\n{_single_line(schema.__doc__)}\n\n{_table(schema.model_fields, shared)}"
            for schema, title in shared.items()
        ),
        *(_kind_section(kind, shared) for kind in sorted(entries())),
    ]
    return "\n".join(parts)


def _kind_section(kind: str, shared: Mapping[Schema, str]) -> str:
    entry, (settings, *nested) = entries()[kind], schemas_of(kind)
    titles = {**shared, settings: f"{kind}: settings", **{schema: f"{kind}: {_title(schema)}" for schema in nested}}
    text = f"## {kind}\n\n{_single_line(entry.__doc__)} See [its page]({kind}.md).\n"
    changed = {
        name: field
        for name, field in entry.model_fields.items()
        if name not in ("kind", "settings") and _default_of(field) != _default_of(RemoteEntry.model_fields[name])
    }
    if changed:
        text += f"\nKeys of the entry whose default differs:\n\n{_table(changed, titles)}"
    for schema in (settings, *nested):
        text += f"\n### {titles[schema]}\n\n{_single_line(schema.__doc__)}\n"
        if schema.model_fields:
            text += f"\n{_table(schema.model_fields, titles)}"
    return text


def _default_of(field: FieldInfo) -> tuple[Any, bool]:
    return field.default, field.is_required()


def _table(fields: Mapping[str, FieldInfo], titles: Mapping[Schema, str]) -> str:
    rows = [
        (f"`{name}`", _type(_annotation_of(field), titles), _default(field), _single_line(field.description))
        for name, field in fields.items()
    ]
    return _COLUMNS + "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |\n" for row in rows)


def _default(field: FieldInfo) -> str:
    if field.annotation is Strict:
        return "the kind's"
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "its table's"
    if value in ((), {}, ""):
        return "empty"
    text = value if isinstance(value, str) else json.dumps(value, default=str).replace('"', "")
    return f"`{text}`"


def _annotation_of(field: FieldInfo) -> Any:
    """The whole annotation: pydantic keeps what `Annotated` adds to a field's type apart."""
    annotation: Any = field.annotation
    for part in field.metadata:
        annotation = Annotated[annotation, part]
    return annotation


def _type(annotation: Any, titles: Mapping[Schema, str]) -> str:
    named = next((name for known, name in _NAMED if annotation == known), None)
    if named is not None:
        return named
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is kinds.ProviderEntry:
        return f"[entry](#{_anchor(_ENTRY_TITLE)})"
    if origin is Annotated:
        return f"{_type(arguments[0], titles)}{_bounds(arguments[1:])}"
    if origin in (Union, types.UnionType):
        return " or ".join(
            dict.fromkeys(_type(argument, titles) for argument in arguments if argument is not type(None))
        )
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0], titles)}"
    if origin is list:
        return "list"
    if origin in (dict, collections.abc.Mapping):
        return f"mapping of {_type(arguments[0], titles)} to {_type(arguments[1], titles)}"
    if annotation in titles:
        title = titles[annotation]
        return f"[{title.rpartition(': ')[2]}](#{_anchor(title)})"
    return _PLAIN[annotation]


def _bounds(metadata: Iterable[Any]) -> str:
    parts = [
        part
        for constraint in metadata
        for part in (constraint.metadata if isinstance(constraint, FieldInfo) else (constraint,))
    ]
    bounds = {name: getattr(part, name) for part in parts for name in ("ge", "gt", "le") if hasattr(part, name)}
    if "le" in bounds:
        return f" from {bounds['ge']:,} to {bounds['le']:,}"
    if "ge" in bounds:
        return f", {bounds['ge']:,} or more"
    return f", more than {bounds['gt']:,}" if "gt" in bounds else ""


def _nested(fields: Iterable[FieldInfo]) -> Iterator[Schema]:
    """The classes that fields refer to, at any depth."""
    for field in fields:
        for schema in _classes(field.annotation):
            yield schema
            yield from _nested(schema.model_fields.values())


def _classes(annotation: Any) -> Iterator[Schema]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes(argument)


def _title(schema: Schema) -> str:
    title = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", schema.__name__.removesuffix("Settings"))
    return {"Model Entry": "Model", "Option Rule": "Option rule"}.get(title, title.capitalize())


def _anchor(title: str) -> str:
    return title.lower().replace(":", "").replace(" ", "-")


def _single_line(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip()


def main() -> None:
    """Writes the page anew."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
