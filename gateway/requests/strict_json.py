"""JSON bodies, read strictly: UTF-8, no key twice, no NaN, nothing that cannot be stored, bounded."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gateway.problems.problem import Violation, invalid, malformed

#: Depth that a protobuf Struct inside a request still carries, with room to spare.
DEEPEST = 24
#: A body of pictures is long but simple; one of very many values is neither a picture nor a prompt.
MOST_MARKS = 200_000
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class _Repeated(dict[str, Any]):
    """An object in which a key stood twice."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) == len(pairs):
        return read
    repeated = _Repeated(read)
    repeated.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
    return repeated


def parse(raw: bytes) -> dict[str, Any]:
    """The object that a body holds. Raises `Problem`: MALFORMED, or INVALID_INPUT naming the fields."""
    if not raw.strip():
        raise malformed("The body is empty; send a JSON object.")
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > MOST_MARKS:
        raise malformed(f"The body holds more than {MOST_MARKS:,} values.")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise malformed(f"The body is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise malformed(f"The body is not JSON: {error.msg} at line {error.lineno} column {error.colno}.") from None
    except RecursionError:
        raise malformed(f"The body is nested deeper than {DEEPEST} levels.") from None
    except ValueError:
        raise malformed("The body holds a number with too many digits.") from None
    if not isinstance(value, dict):
        raise malformed("The body must be a JSON object.")
    refuse_faults(value)
    return value


def refuse_faults(value: dict[str, Any]) -> None:
    """Raises `Problem` INVALID_INPUT naming the fields that hold what cannot be stored."""
    if wrong := list(_faults(value, "", 1)):
        raise invalid(wrong)


def fingerprint(body: dict[str, Any]) -> str:
    """Digest of the body as it was sent, whatever the order of its keys."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _faults(value: Any, path: str, depth: int) -> Iterator[Violation]:
    if depth > DEEPEST + 1:
        raise malformed(f"The body is nested deeper than {DEEPEST} levels.")
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            yield Violation(field=path, message="Holds a control character or half a surrogate pair.")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            yield Violation(field=path, message="Is not a finite number.")
    elif isinstance(value, dict):
        yield from _object_faults(value, path, depth)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _faults(inner, join(path, str(place)), depth + 1)


def _object_faults(value: dict[str, Any], path: str, depth: int) -> Iterator[Violation]:
    if isinstance(value, _Repeated):
        yield Violation(field=join(path, value.key), message="Stands twice in its object.")
    for key, inner in value.items():
        if _UNSTORABLE.search(key):
            yield Violation(field=join(path, repr(key)), message="Its name holds a control character.")
        yield from _faults(inner, join(path, key), depth + 1)


def join(path: str, key: str) -> str:
    """A field inside another, as clients write it."""
    return f"{path}.{key[:100]}" if path else key[:100]
