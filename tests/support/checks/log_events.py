"""Events that the code logs, found in its syntax."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: Folders whose code logs, by the service that the table names.
FOLDERS = {
    "common": "every",
    "gateway": "gateway",
    "services/job": "job",
    "services/generator": "generator",
    "services/uploader": "uploader",
    "services/notifier": "notifier",
    "services/operations_service.py": "every",
}


@dataclass(frozen=True, kw_only=True)
class LoggedEvent:
    """One place that logs an event."""

    #: Name; a part that is known only when it runs is `*`.
    name: str
    #: Service whose code it is; `every` for shared code.
    service: str
    #: File and line.
    place: str
    #: `debug`, `info`, `warning`, `error`; those of both cases where one is chosen, none where a variable has it.
    levels: frozenset[str]
    #: Names of the fields that the call gives; `**` for those that an expression adds.
    fields: tuple[str, ...]


def logged_events() -> list[LoggedEvent]:
    """Returns all places that log an event with its name."""
    found = []
    for folder, service in FOLDERS.items():
        path = ROOT / folder
        for file in sorted([path] if path.suffix else path.rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for call, name, levels in _calls(tree):
                place, fields = (
                    f"{file.relative_to(ROOT)}:{call.lineno}",
                    tuple(one.arg or "**" for one in call.keywords),
                )
                found.append(LoggedEvent(name=name, service=service, place=place, levels=levels, fields=fields))
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str, frozenset[str]]]:
    """Yields each call that logs, with the name of its event and its levels."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id == "event" and len(node.args) > 2:
            yield node, _text(node.args[2]), _levels(node.args[1])
        elif (
            isinstance(called, ast.Attribute)
            and isinstance(called.value, ast.Name)
            and called.value.id == "_LOG"
            and called.attr in ("debug", "info", "warning", "error", "exception")
        ):
            yield node, _text(node.args[0]), frozenset({"error" if called.attr == "exception" else called.attr})


def _levels(node: ast.expr) -> frozenset[str]:
    if isinstance(node, ast.IfExp):
        return _levels(node.body) | _levels(node.orelse)
    is_constant = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "logging"
    return frozenset({node.attr.lower()}) if is_constant and isinstance(node, ast.Attribute) else frozenset()


def _text(node: ast.expr) -> str:
    """Returns a name as the code writes it, with `*` for what is filled in; the source of any other expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("%s", "*")
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    return f"<{ast.unparse(node)}>"
