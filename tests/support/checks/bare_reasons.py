"""Codes and reasons that the source writes as text instead of as members of `calotype.error_reasons`.

`python -m tests.support.checks.bare_reasons` prints every one, and fails when there is any.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from calotype.error_reasons import Code, Reason

ROOT = Path(__file__).parents[3]
FOLDERS = ("services", "gateway", "common", "cli", "proto/calotype")
#: Where the members are defined.
HOME = "proto/calotype/error_reasons.py"
MEMBERS = {kind(name).value: f"{kind.__name__}.{name}" for kind in (Code, Reason) for name in kind.__members__}
#: The same words with another meaning, by file.
OTHER_WORDS = {
    # fal's response to a cancel.
    "services/generator/adapters/providers/fal/provider.py": {"NOT_FOUND"},
}


def texts_in(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, text and what to write instead, for each text that is a code or reason, or is made one: `Reason("X")`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in MEMBERS:
            yield node.lineno, node.value, MEMBERS[node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Code", "Reason"):
            # `Reason` takes any text, so that a misspelled one would be no error.
            for given in node.args:
                if isinstance(given, ast.Constant) and given.value not in MEMBERS:
                    yield node.lineno, str(given.value), f"a member of {node.func.id}"


def violations(root: Path = ROOT) -> list[str]:
    """One line, `path:line: text: what to write`, for each such text below the source folders."""
    lines = []
    for path in sorted(file for folder in FOLDERS for file in (root / folder).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name == HOME or path.stem.endswith(("_pb2", "_pb2_grpc")):
            continue
        allowed = OTHER_WORDS.get(name, set())
        found = texts_in(path.read_text(encoding="utf-8"))
        lines += [f"{name}:{line}: {text!r}: {instead}" for line, text, instead in found if text not in allowed]
    return lines


if __name__ == "__main__":
    bare = violations()
    print("\n".join(bare) or "no code or reason is written as text")
    sys.exit(1 if bare else 0)
