"""Writes the table of what a user can see, for designers: `python -m tests.support.ui_states`."""

from pathlib import Path

from gateway.schemas.catalogue import UiStateView
from gateway.views.ui_states import STATES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ui-states.md"
HEAD = """# What a user can see

Every job carries `display`: what to show of it now, so that a frontend needs no logic about states. This table is made
from the one in [gateway/views/ui_states.py](../gateway/views/ui_states.py) by `python -m tests.support.ui_states`; a
test keeps it fresh. The first row whose condition holds is shown; `GET /v1/ui-states` gives the same to programs.

- **Words** come in the language of `Accept-Language`: English now; `en-XA`, English with accents, shows which words of
  a page cannot be translated yet. A language is one more entry, by key, in
  [gateway/views/locales.py](../gateway/views/locales.py).
- **Tone** is for colour and icon, **percent** for a bar; live `progress` events refine it while pictures are made.
- **Buttons** are the calls that make sense now. Where trying again may cost a second time, `retry` becomes
  `retry_may_charge_again`: ask the user first, then send `{"on_ambiguous": "retry"}`.

| key | shown when | title | message | tone | percent | buttons |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"| {' | '.join(_cells(state))} |\n" for state in STATES)


def _cells(state: UiStateView) -> list[str]:
    told = {name.replace("_", " "): value for name, value in state.when if name != "status" and value is not None}
    when = [state.when.status, *(name if value is True else f"{name} `{value}`" for name, value in told.items())]
    percent = "" if state.percent is None else str(state.percent)
    buttons = ", ".join(f"`{action}`" for action in state.actions)
    return [f"`{state.key}`", ", ".join(when), state.title, state.message, state.tone, percent, buttons]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
