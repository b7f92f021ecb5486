"""Words that the project's names no longer use, each with the word that took its place.

`python -m tests.support.checks.retired_words` prints every name that uses one, and fails when there is any.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = ("services", "gateway", "common", "cli")
#: Retired word: what to write in its place. Add a word once no name uses it any more; see docs/glossary.md.
RETIRED = {
    "admitting": "quotas",
    "anew": "again",
    "answer": "response",
    "answered": "responded",
    "answers": "responses",
    "ask": "request, call",
    "asked": "requested, or the noun itself",
    "asks": "calls, requests",
    "astray": "foreign address",
    "bear": "on_error",
    "buried": "dead_lettered",
    "bury": "dead_letter",
    "buying": "provider_calls",
    "closing": "claim_end",
    "creating": "submission",
    "deciding": "user_actions",
    "decisions": "job_actions",
    "desks": "job service",
    "door": "server security, authorizer",
    "doors": "server security, authorizer",
    "erasing": "erasure",
    "everybody": "the noun itself",
    "fold": "apply",
    "folding": "apply",
    "folds": "apply",
    "given": "the noun itself",
    "heed": "update",
    "hint": "wake-up",
    "hints": "wake-ups",
    "hopeless": "permanent",
    "ill": "failure",
    "keeper": "stager",
    "keepers": "stagers",
    "keeping": "stage_images",
    "learn": "record",
    "learned": "recorded",
    "look": "check, poll",
    "most": "limit, max",
    "nobody": "the noun itself",
    "objection": "access policy",
    "outgoing": "to_protobuf",
    "pace": "timeouts",
    "paces": "timeouts",
    "picture": "image",
    "pictures": "images",
    "place": "slot, capacity",
    "purchaser": "purchase",
    "purchasing": "purchase",
    "rescuing": "stale_jobs",
    "shown": "the noun itself",
    "silent": "ignored",
    "somebody": "the noun itself",
    "speaks": "is_...",
    "standing": "condition",
    "standings": "conditions",
    "taken": "assigned, acquired",
    "takes": "accepts",
    "tell": "publishes, returns, reports",
    "teller": "publisher",
    "tellers": "publishers",
    "tells": "publishes, returns, reports",
    "told": "published, reported",
    "trouble": "error",
    "untrue": "refused",
    "whoever": "the noun itself",
}


def words_of(name: str) -> list[str]:
    """The words of a snake_case or CamelCase name, in lower case: `NATSHints` is `nats`, `hints`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of every class, function and parameter that the source defines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def advice(name: str) -> str | None:
    """What a name should use in place of its retired words; None if it uses none."""
    found = [f"{word} -> {RETIRED[word]}" for word in words_of(name) if word in RETIRED]
    return "; ".join(found) or None


def violations(root: Path = ROOT) -> list[str]:
    """One line, `path:line: name: advice`, for each name below the source folders that uses a retired word."""
    lines = []
    for path in sorted(file for folder in FOLDERS for file in (root / folder).rglob("*.py")):
        names = [(1, part) for part in path.relative_to(root).with_suffix("").parts]
        for line, name in [*names, *names_in(path.read_text(encoding="utf-8"))]:
            if instead := advice(name):
                lines.append(f"{path.relative_to(root)}:{line}: {name}: {instead}")
    return lines


if __name__ == "__main__":
    found = violations()
    print("\n".join(found) or "no name uses a retired word")
    sys.exit(1 if found else 0)
