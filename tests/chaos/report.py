"""A run in words: what was hit, and what held."""

from statistics import median

from tests.chaos.failover import BROKER, DATABASE
from tests.chaos.killer import SHAPES, STATES
from tests.chaos.run import RESCUE_SECONDS, Result

MOST_PROBLEMS = 10


def told(result: Result) -> str:
    """Seed, matrix of faults, and one line per rule."""
    score = result.score
    lines = [
        f"seed {result.plan.seed}: {result.jobs} jobs, {score.counted} faults that hit a job in flight, "
        f"{len(score.idle)} that hit none",
        "",
        *_matrix(result, result.plan.least),
        "",
        *(_rule(name, result) for name in result.broken),
        "",
        "covered: " + ", ".join(f"{count} {what}" for what, count in result.covered.items()),
        "not played: " + (", ".join(f"{name} ({why})" for name, why in result.unplayed.items()) or "nothing"),
        _rescues(result),
        *_failovers(result),
        *_upgrade(result),
        _verdict(result),
    ]
    return "\n".join(lines)


def _matrix(result: Result, least: int) -> list[str]:
    columns = [(state, shape) for state in STATES for shape in SHAPES]
    faults = list(dict.fromkeys(fault for fault, _, _ in result.cells))
    width = max(map(len, faults))
    head = " " * width + "".join(f" {state[:6]}/{shape[:1]}".rjust(10) for state, shape in columns)
    rows = [
        fault.ljust(width) + "".join(_cell(result.score.cells[(fault, *column)], least) for column in columns)
        for fault in faults
    ]
    return [head, *rows]


def _cell(count: int, least: int) -> str:
    return f"{count}{'' if count >= least else '!'}".rjust(10)


def _rule(name: str, result: Result) -> str:
    problems = result.broken[name]
    if not problems:
        return f"holds   {name}"
    shown = "".join(f"\n          {problem}" for problem in problems[:MOST_PROBLEMS])
    return f"BROKEN  {name}: {len(problems)}{shown}"


def _rescues(result: Result) -> str:
    if not result.rescues:
        return "rescues: none was measured"
    waits = [one.seconds for one in result.rescues]
    return (
        f"rescues: {len(waits)}, median {median(waits):.1f} s, longest {max(waits):.1f} s, "
        f"allowed {RESCUE_SECONDS:.0f} s, and a lease more after the monitor was stalled"
    )


def _failovers(result: Result) -> list[str]:
    if not result.plan.failover:
        return []
    done = result.failovers
    return [
        f"failovers: {done[DATABASE]} of PostgreSQL's primary, {done[BROKER]} of the NATS server that leads the facts",
        *(f"MISSING {name}: it never happened" for name in result.missing_failovers),
    ]


def _upgrade(result: Result) -> list[str]:
    if not result.plan.upgrades:
        return []
    return [f"upgrade: {len(result.replaced)} processes replaced by the newer version: {', '.join(result.replaced)}"]


def _verdict(result: Result) -> str:
    empty = sum(not result.score.cells[cell] for cell in result.cells)
    hit = f"{len(result.cells) - empty} of {len(result.cells)} cells of the matrix were hit"
    return f"verdict: {'all rules hold' if result.holds else 'NOT PASSED'}; {hit}"
