"""The page of telemetry is what the registry declares, and the registry what the code and the conventions have."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import opentelemetry.semconv._incubating.attributes as incubating
import opentelemetry.semconv.attributes as stable
import pytest

from common.telemetry.kinds import Attribute, SpanType
from services.generator.domain.jobs import CallPhase
from tests.support.pages import telemetry

PACKAGES = ("common", "gateway", "services", "cli")
#: Newer than the installed package of conventions.
NEWER = {"gen_ai.request.choice.count", "gen_ai.input.messages"}


def test_the_page_is_current() -> None:
    assert telemetry.PAGE.read_text(encoding="utf-8") == telemetry.page(), "run python -m tests.support.pages.telemetry"


def names_of_conventions() -> Iterator[str]:
    for package in (stable, incubating):
        for module in pkgutil.iter_modules(package.__path__):
            found = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            yield from (value for name, value in found.items() if name.isupper() and isinstance(value, str))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_attribute_is_of_a_convention_or_of_calotype() -> None:
    known = {*names_of_conventions(), *NEWER}
    in_spans = {str(name): name for span in telemetry.declared(SpanType) for name in span.attributes}

    for name, attribute in in_spans.items():
        assert name.startswith("calotype.") is not bool(attribute.convention), name
        assert name in known or not attribute.convention, name


def test_each_attribute_has_one_declaration() -> None:
    used = {str(name) for span in telemetry.declared(SpanType) for name in span.attributes}
    names = [str(name) for name in telemetry.declared(Attribute) if str(name) in used]

    assert len(names) == len(set(names))


def test_phases_are_those_of_the_ledger() -> None:
    [phase] = [name for name in telemetry.declared(Attribute) if name == "calotype.call.phase"]

    assert set(phase.values) == set(CallPhase)


def opened_spans() -> Iterator[tuple[str, ast.expr]]:
    """Each call that opens a span, with what it opens."""
    for package in PACKAGES:
        for path in (telemetry.ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and node.args and _opens(node.func):
                    yield path.relative_to(telemetry.ROOT).as_posix(), node.args[0]


def _opens(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("span", "open_span", "sending")


def test_code_opens_declared_spans_alone() -> None:
    types = {name for name, value in vars(telemetry.registry).items() if isinstance(value, SpanType)}
    opened = [(path, ast.unparse(argument)) for path, argument in opened_spans()]
    # These pass on what their callers name.
    passing = ("common/messaging_spans.py", "common/tracing.py")
    named = {text.removeprefix("registry.") for path, text in opened if path not in passing}

    assert named | {"PROCESS_MESSAGE"} == types


def test_only_one_module_asks_for_a_tracer() -> None:
    asking = [
        path.relative_to(telemetry.ROOT)
        for package in PACKAGES
        for path in (telemetry.ROOT / package).rglob("*.py")
        if "get_tracer(" in path.read_text(encoding="utf-8")
    ]

    assert asking == [Path("common/tracing.py")]
