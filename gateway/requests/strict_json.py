"""Strict JSON parsing: UTF-8, no duplicate keys, no NaN, nothing that PostgreSQL cannot store, bounded depth."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gateway.problems.problem import Violation, invalid, malformed

#: Levels of nesting that a protobuf Struct inside a request still carries, with a margin.
MAX_DEPTH = 24
#: A body with images is long but has few values; one with very many values holds neither images nor a prompt.
MAX_VALUES = 200_000
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class _ObjectWithDuplicates(dict[str, Any]):
    """A JSON object in which a key occurs more than once."""

    #: The key that occurs most often.
    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) == len(pairs):
        return parsed
    with_duplicates = _ObjectWithDuplicates(parsed)
    with_duplicates.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
    return with_duplicates


def parse(raw: bytes) -> dict[str, Any]:
    """Returns the JSON object in a body. Raises `Problem`: MALFORMED, or INVALID_INPUT with the fields."""
    value = load(raw)
    reject_unstorable(value)
    return value


def load(raw: bytes) -> dict[str, Any]:
    """Returns the JSON object in a body, of which every part is yet to pass `reject_unstorable`.

    Raises `Problem` MALFORMED.
    """
    if not raw.strip():
        raise malformed("The body is empty. Send a JSON object.")
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise malformed(f"The body has more than {MAX_VALUES:,} values.")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise malformed(f"The body is not valid UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        location = f"line {error.lineno} column {error.colno}"
        raise malformed(f"The body is not valid JSON: {error.msg} at {location}.") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise malformed("The body has a number with too many digits.") from None
    if not isinstance(value, dict):
        raise malformed("The body must be a JSON object.")
    return value


def reject_unstorable(value: dict[str, Any]) -> None:
    """Raises `Problem` INVALID_INPUT with the fields whose values cannot be stored; MALFORMED if nested too deeply."""
    if violations := list(_violations(value, "", 1)):
        raise invalid(violations)


def fingerprint(body: dict[str, Any]) -> str:
    """Returns the SHA-256 digest of the body, in hex; the order of keys does not matter."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _too_deep() -> Exception:
    return malformed(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _violations(value: Any, path: str, depth: int) -> Iterator[Violation]:
    if depth > MAX_DEPTH + 1:
        raise _too_deep()
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            message = "Remove control characters and unpaired surrogates (\\uD800 to \\uDFFF)."
            yield Violation(field=path, message=message)
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            yield Violation(field=path, message="Must be a finite number.")
    elif isinstance(value, dict):
        yield from _object_violations(value, path, depth)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _violations(item, join(path, str(index)), depth + 1)


def _object_violations(value: dict[str, Any], path: str, depth: int) -> Iterator[Violation]:
    if isinstance(value, _ObjectWithDuplicates):
        yield Violation(field=join(path, value.key), message="This key occurs more than once in its object.")
    for key, item in value.items():
        if _UNSTORABLE.search(key):
            yield Violation(field=join(path, repr(key)), message="The name of the field has a control character.")
        yield from _violations(item, join(path, key), depth + 1)


def join(path: str, key: str) -> str:
    """Returns the path of a field inside another, as error responses write it: `input_images.0.url`."""
    return f"{path}.{key[:100]}" if path else key[:100]
