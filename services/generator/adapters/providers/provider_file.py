"""The provider file: YAML, and for what is wrong in it one line with file, line and field."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from common.config import ConfigError
from services.generator.adapters.providers.kinds import KINDS, ProviderFile
from services.generator.adapters.providers.procedural.entry import ProceduralEntry

#: Without a file: the provider that needs no key.
BUILT_IN = ProviderFile(providers=(ProceduralEntry(name="procedural"),))


def read(path: Path | None, *, max_timeout_seconds: float) -> ProviderFile:
    """The file's providers, or the built-in one. Raises `ConfigError`: one line with file, line and field."""
    root: Any = None
    found = BUILT_IN
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            found = ProviderFile.model_validate(yaml.safe_load(text))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read.") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise ConfigError(f"{path}{f':{mark.line + 1}' if mark else ''}: is not YAML.") from error
        except ValidationError as error:
            raise ConfigError(_first_problem(path, root, error)) from error
    entries = []
    for number, entry in enumerate(found.providers):
        if "timeout_seconds" in entry.model_fields_set and entry.timeout_seconds > max_timeout_seconds:
            place = ("providers", number, "timeout_seconds")
            raise ConfigError(
                f"{path}:{_line(root, place)}: {_written(place)}: is over CALOTYPE_MAX_GENERATING_SECONDS "
                f"({max_timeout_seconds:g})."
            )
        timeout = min(entry.timeout_seconds, max_timeout_seconds)
        entries.append(entry.model_copy(update={"timeout_seconds": timeout}))
    return found.model_copy(update={"providers": tuple(entries)})


def _first_problem(path: Path, root: Any, error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    # Where the kind was looked up to choose a schema, its name stands in the place; it is none in the file.
    place = tuple(part for at, part in enumerate(problem["loc"]) if not (at == 2 and part in KINDS))
    # Where a check looked deeper than the place that it stands at.
    place = (*place, *problem.get("ctx", {}).get("place", ()))
    words = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        place, words = (*place, "kind"), f"must be one of {', '.join(KINDS)}"
    return f"{path}:{_line(root, place)}: {_written(place)}: {words}."


def _written(place: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in place) or "the file"


def _line(node: Any, place: tuple[int | str, ...]) -> int:
    """The line of the deepest part of the place that is written in the file."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return int(line)
