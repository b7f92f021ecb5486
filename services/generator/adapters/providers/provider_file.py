"""Reads the provider file (YAML). Each mistake becomes one line: file, line, column, field, what to write instead."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from common import strict_yaml
from common.config import ConfigError
from services.generator.adapters.providers.kinds import KINDS, ProviderEntry, ProviderFile
from services.generator.adapters.providers.procedural.entry import ProceduralEntry
from services.generator.adapters.providers.schema_messages import Location, SchemaProblem, problems

#: Used without a file: the provider that needs no key.
BUILT_IN = ProviderFile(providers=(ProceduralEntry(name="procedural"),))
_EMPTY = "the file is empty; it needs the key providers, a list of at least one entry with name and kind"
_NO_MAPPING = "the file must be a mapping with the key providers, a list of entries"


class ProviderFileError(ConfigError):
    """The provider file has wrong values; the message is the first mistake, by line."""

    def __init__(self, mistakes: Sequence[str], *, usable: Sequence[ProviderEntry] = ()) -> None:
        super().__init__(mistakes[0])
        #: Every mistake that was found, one line each. Others may show when these are mended.
        self.mistakes = tuple(mistakes)
        #: Entries without a mistake.
        self.usable = tuple(usable)


def read(path: Path | None, *, max_timeout_seconds: float) -> ProviderFile:
    """Returns the file's providers; without a file (None) the built-in one.

    No entry's timeout is longer than `max_timeout_seconds`. Raises `ConfigError`: one line with file, line, column
    and field; for wrong values it is a `ProviderFileError`.
    """
    if path is None:
        root, file = None, BUILT_IN
    else:
        root, file = _parse(path)
    entries, mistakes = [], []
    for number, entry in enumerate(file.providers):
        if "timeout_seconds" in entry.model_fields_set and entry.timeout_seconds > max_timeout_seconds:
            location = ("providers", number, "timeout_seconds")
            line, column = _position(root, location)
            mistakes.append(
                f"{path}:{line}:{column}: {_dotted(location)}: must be at most {max_timeout_seconds:g}, "
                "the value of CALOTYPE_MAX_GENERATING_SECONDS."
            )
            continue
        timeout = min(entry.timeout_seconds, max_timeout_seconds)
        entries.append(entry.model_copy(update={"timeout_seconds": timeout}))
    if mistakes:
        raise ProviderFileError(mistakes, usable=entries)
    return file.model_copy(update={"providers": tuple(entries)})


def _parse(path: Path) -> tuple[Any, ProviderFile]:
    """Returns YAML's node tree, which knows the lines, and the validated file."""
    text = _text_of(path)
    try:
        root = yaml.compose(text, Loader=strict_yaml.StrictLoader)
        content = strict_yaml.load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_yaml_problem(error)}.") from error
    except (ValueError, RecursionError) as error:
        # A date that does not exist, or a mapping that contains itself.
        raise ConfigError(f"{path}: is not YAML that can be read: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}:1: {_EMPTY if content is None else _NO_MAPPING}.")
    try:
        return root, ProviderFile.model_validate(content)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        found = problems(errors, ProviderFile)
        lines = sorted((_schema_problem(path, root, problem) for problem in found), key=lambda item: item[0])
        wrong = {
            problem.location[1] for problem in found if problem.location[:1] == ("providers",) and problem.location[1:]
        }
        raise ProviderFileError([text for _, text in lines], usable=_usable(content, wrong)) from error


def _usable(content: Mapping[str, Any], wrong: Collection[str | int]) -> list[ProviderEntry]:
    """Returns the entries of a file that have no mistake; `wrong` are the positions of those that have one."""
    entries = content.get("providers")
    usable: list[ProviderEntry] = []
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if number not in wrong:
            # By itself: a name that another entry has, too, is a mistake of the file.
            with suppress(ValidationError):
                usable += ProviderFile.model_validate({"providers": [entry]}).providers
    return usable


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 (byte {error.start + 1}); save it with the encoding UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Returns `:LINE:COLUMN: is not YAML: CAUSE`, and `:LINE:COLUMN: CAUSE` for a key that occurs twice."""
    if isinstance(error, strict_yaml.DuplicateKey):
        return f":{error.position}: {error.problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f": is not YAML: character number {error.position + 1} is a control character, which YAML forbids"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return ": is not YAML"
    mark, cause = error.problem_mark, re.sub(r"'<([a-z ]+)>'", r"a \1", str(error.problem))
    cause = cause.replace("a stream end", "the end of the file").replace("a scalar", "a value")
    if "'\\t'" in cause:
        cause = "a line must be indented with spaces, not with tabs"
    begun = error.context_mark
    since = f", {error.context} that begins in line {begun.line + 1}" if begun and begun.line != mark.line else ""
    return f":{mark.line + 1}:{mark.column + 1}: is not YAML: {cause}{since}"


def _schema_problem(path: Path, root: Any, problem: SchemaProblem) -> tuple[tuple[int, int], str]:
    """Returns the position of a mistake, and what to print."""
    # A check that looked deeper than the class it belongs to says where.
    location = (*problem.location, *problem.error.get("ctx", {}).get("location", ()))
    message = problem.message
    if problem.error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        location, message = (*location, "kind"), f"must be one of {', '.join(KINDS)}"
    end = "" if message.endswith("?") else "."
    line, column = _position(root, location)
    return (line, column), f"{path}:{line}:{column}: {_dotted(location)}: {message}{end}"


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location) or "the file"


def _position(node: Any, location: Location) -> tuple[int, int]:
    """Returns line and column (from 1) of the deepest part of the location that the file has."""
    mark = None if node is None else node.start_mark
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == part), None)
            if pair is None:
                break
            mark, node = pair[0].start_mark, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
