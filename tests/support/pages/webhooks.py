"""The generated parts of `docs/webhooks.md`: examples of events, retries, limits.

`python -m tests.support.pages.webhooks` writes them again.
"""

import json
import re
from pathlib import Path
from typing import Any, cast

from tests.support.pages.webhook_events import EXAMPLES
from tests.support.pages.webhook_limits import limits, retries

PAGE = Path(__file__).parents[3] / "docs" / "webhooks.md"
_PART = r"(<!-- {}: written by [^\n]*-->\n).*?(<!-- end of {} -->)"


def with_parts(page: str) -> str:
    """Returns the page with fresh parts. Raises `ValueError` for a page that lacks one."""
    for name, part in (("events", _events()), ("retries", retries()), ("limits", limits())):
        pattern = re.compile(_PART.format(name, name), re.DOTALL)
        page, count = _filled(pattern, part, page)
        if count != 1:
            raise ValueError(f"the page has {count} parts {name}")
    return page


def _filled(pattern: "re.Pattern[str]", part: str, page: str) -> tuple[str, int]:
    """Returns the page with a new part, and how many such parts it has."""
    return pattern.subn(lambda match: f"{match[1]}\n{part}\n\n{match[2]}", page)


def _events() -> str:
    """Returns an example of each event: the first one whole, of the other jobs what differs from it."""
    first = json.loads(EXAMPLES[0].body)
    return "\n\n".join(
        f"`{example.type}`: {example.meaning}\n\n```json\n{_json(_difference(json.loads(example.body), first))}\n```"
        for example in EXAMPLES
    )


def _difference(body: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Returns a body without the members of a job that are those of the first body; the first one whole."""
    data: dict[str, Any] = body["data"]
    if body == first or "links" not in data:
        return body
    changed = {name: value for name, value in data.items() if value != first["data"][name] or name == "id"}
    return {**body, "data": changed}


def whole(body: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Returns the body that the page shows the difference of."""
    is_job = body["type"].startswith("job.")
    return {**body, "data": {**first["data"], **body["data"]}} if is_job else body


def _json(value: Any) -> str:
    """Returns JSON with a member per line; small objects and lists are on one line."""
    return _indented(value, 0)


def _indented(value: Any, depth: int) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or (depth > 1 and len(line) + 2 * depth <= 110) or not value:
        return line
    space = "  " * (depth + 1)
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        parts = [f"{space}{json.dumps(name)}: {_indented(member, depth + 1)}" for name, member in members]
        return "{\n" + ",\n".join(parts) + "\n" + "  " * depth + "}"
    parts = [space + _indented(member, depth + 1) for member in value]
    return "[\n" + ",\n".join(parts) + "\n" + "  " * depth + "]"


def main() -> None:
    """Writes the parts again."""
    PAGE.write_text(with_parts(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
