"""The pages on providers, `docs/providers/KIND.md`, and the table of what each kind can do.

`python -m tests.support.pages.provider_pages` writes its tables anew.
"""

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import factory, provider_file
from services.generator.adapters.providers.diffusers.entry import DiffusersEntry
from services.generator.adapters.providers.diffusers.provider import DiffusersProvider
from services.generator.adapters.providers.kinds import KINDS
from services.generator.adapters.providers.procedural.process_pool import Renderers
from tests.support.generator.decoder import decoder
from tests.support.providers.provider_fixtures import StubPipeline

FOLDER = Path(__file__).parents[3] / "docs" / "providers"
INDEX = FOLDER / "README.md"
_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
_TABLE = re.compile(r"(<!-- table: [^\n]*-->\n).*?(<!-- end of table -->)", re.DOTALL)
_OPTIONS = re.compile(r"(<!-- options: [^\n]*-->\n).*?(<!-- end of options -->)", re.DOTALL)
_HEAD = "| kind | images per call | sizes | input images, mask | seed | follow, cancel | safe to repeat |"


class _AnyKey(dict[str, str]):
    """An environment in which every key is set."""

    def get(self, name: str, default: Any = None) -> str:
        """A key."""
        return f"key-of-{name}"


def page_of(kind: str) -> str:
    """A kind's page."""
    return (FOLDER / f"{kind}.md").read_text(encoding="utf-8")


def minimal_file(kind: str) -> str:
    """The provider file at the top of a kind's page."""
    match = _BLOCK.search(page_of(kind))
    assert match, f"docs/providers/{kind}.md has no provider file in it"
    return match[1]


def described(kind: str, renderers: Renderers) -> provider_pb2.Provider:
    """Returns the catalogue's description of the minimal entry."""
    with tempfile.TemporaryDirectory() as folder:
        text = minimal_file(kind)
        for name, written in _files_of(text).items():
            (Path(folder) / name).write_text(written, encoding="utf-8")
        file = Path(folder) / "providers.yaml"
        file.write_text(text, encoding="utf-8")
        [entry] = provider_file.read(file, max_timeout_seconds=600).providers
        if isinstance(entry, DiffusersEntry):
            # What it offers stands in the file; the library that it needs is large.
            return DiffusersProvider(entry, decoder(), load=StubPipeline).describe(is_default=True)
        return factory.build(entry, environ=_AnyKey(), renderers=renderers, decoder=decoder()).describe(is_default=True)


def table(renderers: Renderers) -> str:
    """The table of all kinds."""
    rows = [_row(kind, described(kind, renderers).capabilities) for kind in sorted(KINDS)]
    return "\n".join([_HEAD, "| --- " * _HEAD.count(" | ") + "| --- |", *rows]) + "\n"


def options_table(renderers: Renderers) -> str:
    """The table of the options that jobs may set."""
    rows = []
    for kind in sorted(KINDS):
        rules = described(kind, renderers).option_rules.rules
        options = "; ".join(f"`{rule.path}`: {_values(rule)}" for rule in rules)
        rows.append(f"| [`{kind}`]({kind}.md) | {options or 'none'} |")
    return "\n".join(["| kind | options |", "| --- | --- |", *rows]) + "\n"


def with_tables(page: str, renderers: Renderers) -> str:
    """The page with both tables in their places."""
    page = _TABLE.sub(lambda match: f"{match[1]}{table(renderers)}{match[2]}", page)
    return _OPTIONS.sub(lambda match: f"{match[1]}{options_table(renderers)}{match[2]}", page)


def _values(rule: provider_pb2.OptionRule) -> str:
    if rule.type in ("integer", "number"):
        kind = "whole number" if rule.type == "integer" else "number"
        return f"{kind} from {rule.minimum:g} to {rule.maximum:g}"
    return ", ".join(f"`{value}`" for value in rule.values) if rule.values else rule.type


def _row(kind: str, offers: provider_pb2.Capabilities) -> str:
    images = f"up to {offers.max_input_images}" if offers.max_input_images else "none"
    cells = (
        f"[`{kind}`]({kind}.md)",
        str(offers.max_images_per_call),
        _sizes(offers),
        f"{images}, mask" if offers.mask else images,
        _yes(offers.seed),
        f"{_yes(offers.resumable)}, {_yes(offers.cancelable)}",
        "yes, free" if offers.free else _yes(offers.idempotent),
    )
    return f"| {' | '.join(cells)} |"


def _sizes(offers: provider_pb2.Capabilities) -> str:
    parts = []
    if offers.sizes:
        parts.append(f"{len(offers.sizes)} sizes")
    if offers.max_side:
        multiple = f", multiples of {offers.side_multiple}" if offers.side_multiple > 1 else ""
        parts.append(f"sides {offers.min_side} to {offers.max_side}{multiple}")
    if offers.aspect_ratios:
        parts.append(f"{len(offers.aspect_ratios)} ratios")
    return "; ".join(parts) or "the model's own"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _files_of(text: str) -> Mapping[str, str]:
    """What a file names beside itself: a workflow with a node for each of its slots."""
    files = {}
    for entry in yaml.safe_load(text)["providers"]:
        settings = entry.get("settings", {})
        if "workflow_file" in settings:
            files[settings["workflow_file"]] = yaml.safe_dump(_workflow(settings["slots"]))
    return files


def _workflow(slots: Mapping[str, Any]) -> Mapping[str, Any]:
    nodes: dict[str, Any] = {"9": {"class_type": "SaveImage", "inputs": {}}}
    addresses = [address for slot in slots.values() for address in (slot if isinstance(slot, list) else [slot])]
    for address in addresses:
        node, _, name = str(address).split(".", 2)
        nodes.setdefault(node, {"class_type": "LoadImage", "inputs": {}})["inputs"][name] = "x"
    return nodes


def main() -> None:
    """Write the table anew."""
    renderers = Renderers(1)
    page = INDEX.read_text(encoding="utf-8")
    INDEX.write_text(with_tables(page, renderers), encoding="utf-8")
    print(f"{INDEX} is written")
    sys.exit(0)


if __name__ == "__main__":
    main()
