"""Writes docs/ui-states.md, the table of display states for designers: `python -m tests.support.pages.ui_states`."""

from pathlib import Path

from gateway.schemas.catalogue import UiStateView
from gateway.views.ui_states import STATES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "ui-states.md"
HEAD = """# What a user can see

Every job has a field `display`: the texts and buttons to show now, so that a frontend needs no logic about states.
This table is generated from [gateway/views/ui_states.py](../gateway/views/ui_states.py) by
`python -m tests.support.pages.ui_states`; a test keeps it up to date. The first row whose condition holds is shown.
Programs read the table at `GET /v1/ui-states`.

- **Title** and **message** are in the language of `Accept-Language`: English, or `en-XA`, which is English with accents
  and shows which texts of a page are not translated. To add a language, add its texts to
  [gateway/views/locales.py](../gateway/views/locales.py).
- **Tone** decides colour and icon, **percent** a progress bar. Live `progress` events have the same scale: while the
  images are made, the bar moves from 40 to 90 as far as the provider reports. It never moves backwards, also when an
  automatic retry begins with an earlier state; a user's retry begins at 0. Every gateway
  shows the same position, also after its restart: job-service sends the furthest progress with the job, and a job that
  is back in the queue after a try stands at 40 at least. Each process of job-service keeps the progress in memory.
  After its restart, a gateway that has not shown the job before shows the share of the state until the provider's
  progress arrives again, within five seconds of the next report.
- **Buttons** are the actions that are possible now. Where a retry may be charged a second time, `retry` becomes
  `retry_may_charge_again`: ask the user first, then send `{"on_ambiguous": "retry"}`.

| key | shown when | title | message | tone | percent | buttons |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page() -> str:
    """Returns the whole page."""
    return HEAD + "".join(f"| {' | '.join(_cells(state))} |\n" for state in STATES)


def _cells(state: UiStateView) -> list[str]:
    stated = {name.replace("_", " "): value for name, value in state.when if name != "status" and value is not None}
    when = [state.when.status, *(name if value is True else f"{name} `{value}`" for name, value in stated.items())]
    percent = "" if state.percent is None else str(state.percent)
    buttons = ", ".join(f"`{action}`" for action in state.actions)
    return [f"`{state.key}`", ", ".join(when), state.title, state.message, state.tone, percent, buttons]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
