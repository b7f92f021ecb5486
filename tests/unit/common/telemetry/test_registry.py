"""What the registry declares is recorded by some module, and a module records nothing else."""

import ast
from pathlib import Path

import pytest

from common.telemetry import registry
from common.telemetry.kinds import Metric

ROOT = Path(__file__).parents[4]
CONSTANTS = {name: found for name, found in vars(registry).items() if isinstance(found, Metric)}
SOURCES = [path for package in ("common", "gateway", "services") for path in (ROOT / package).rglob("*.py")]
INSTRUMENT_MAKERS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}


def used(path: Path) -> set[str]:
    """Constants of the registry that a module names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "registry"
    }


USED_BY = {path: used(path) for path in SOURCES}


@pytest.mark.parametrize("name", CONSTANTS)
def test_each_metric_is_recorded_by_every_service_that_has_it(name: str) -> None:
    """A service's metric is recorded in its folder, or in a module that all share."""
    folders = {path.relative_to(ROOT).parts[:2] for path, names in USED_BY.items() if name in names}
    services = {parts[1] if parts[0] == "services" else parts[0] for parts in folders} - {"registry.py"}

    assert services, f"{name} is declared but never recorded"
    if "common" not in services:
        assert services == set(CONSTANTS[name].services)


def test_names_are_unique() -> None:
    names = [metric.name for metric in CONSTANTS.values()]
    assert sorted(set(names)) == sorted(names)


def test_instruments_are_made_from_declarations_alone() -> None:
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module == "prometheus_client"
        and INSTRUMENT_MAKERS & {alias.name for alias in node.names}
    }
    assert makers == {"common/telemetry/metrics.py"}
