"""Outcomes in words."""

from collections.abc import Sequence

from tests.fresh.words import Outcome

HEAD = ("system", "Python", "command", "result", "seconds", "output")


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each outcome below a head, in columns."""
    rows = [HEAD, *(_row(one) for one in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def result(outcome: Outcome) -> str:
    """How a command ended, in a word or three."""
    if outcome.code is None:
        return "out of time"
    return "ok" if outcome.is_good else f"FAILED ({outcome.code})"


def _row(one: Outcome) -> tuple[str, ...]:
    return one.system, one.python or "-", one.command, result(one), f"{one.seconds:.0f}", str(one.log)
