"""Prints rows as columns of plain text, so that ids and times are whole wherever they are read."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

import click
from rich.cells import cell_len, set_cell_size
from rich.console import Console

GAP = "  "
#: Cells that the last column has on the narrowest terminal.
LEAST_CELLS = 8


def print_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, colors: Mapping[str, str] | None = None
) -> None:
    """Prints a table to standard output; on a terminal the last column is cut at its edge, all others are whole.

    `colors` are those of cells, by their text; only a terminal shows them.
    """
    lines = [[*headers], *([printable(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(headers) - 1)]
    remaining_width = Console().width - sum(widths) - len(GAP) * len(widths) if sys.stdout.isatty() else None
    for line in lines:
        cells = [
            click.style(set_cell_size(cell, width), fg=(colors or {}).get(cell))
            for cell, width in zip(line, widths, strict=False)
        ]
        last = line[-1] if remaining_width is None else _cut(line[-1], remaining_width)
        click.echo(GAP.join([*cells, last]).rstrip())


def local_time(timestamp: str, *, now: datetime | None = None) -> str:
    """An RFC 3339 timestamp in this machine's time zone: HH:MM if it is of today, else the date and HH:MM."""
    moment = datetime.fromisoformat(timestamp).astimezone()
    is_today = moment.date() == (now or datetime.now().astimezone()).date()
    return moment.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")


def printable(text: str) -> str:
    """Returns the text without line breaks and control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def _cut(text: str, width: int) -> str:
    width = max(width, LEAST_CELLS)
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…"
