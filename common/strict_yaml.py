"""Reads YAML in which no mapping has a key twice; PyYAML by itself silently takes the last one."""

from typing import Any

import yaml

#: Characters of a key that a message shows.
MAX_SHOWN = 64
_MERGE = "tag:yaml.org,2002:merge"


class DuplicateKey(yaml.composer.ComposerError):
    """A mapping has a key twice; `problem_mark` is where the second one is."""

    def __init__(self, key: yaml.ScalarNode, first: yaml.ScalarNode) -> None:
        shown = str(key.value)[:MAX_SHOWN]
        problem = f"the key {shown!r} occurs twice in one mapping; the first is in line {first.start_mark.line + 1}"
        super().__init__(None, None, problem, key.start_mark)

    @property
    def position(self) -> str:
        """Line and column of the second key, from 1, as `LINE:COLUMN`."""
        assert self.problem_mark is not None
        return f"{self.problem_mark.line + 1}:{self.problem_mark.column + 1}"


class StrictLoader(yaml.SafeLoader):
    """A safe loader that raises `DuplicateKey`.

    It compares the keys as they are written, before `<<` merges others: a key of its own replaces a merged one.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Returns the node of a mapping."""
        node = super().compose_mapping_node(anchor)
        assert node is not None
        seen: dict[tuple[str, str], yaml.ScalarNode] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                first = seen.setdefault((key.tag, key.value), key)
                if first is not key:
                    raise DuplicateKey(key, first)
        return node


def load(content: str | bytes) -> Any:
    """Returns the document. Raises `yaml.YAMLError`, also for a key that a mapping has twice, as `DuplicateKey`.

    A date that does not exist raises `ValueError`, deep nesting `RecursionError`.
    """
    return yaml.load(content, Loader=StrictLoader)  # noqa: S506 - a safe loader
