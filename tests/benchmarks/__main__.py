"""`make bench`: measures all parts on this machine, and writes results, tables and charts to `out/bench/`.

`make bench ARGS="--parts pipeline peers --rounds 3"` measures some parts. `--short` is for a look at the harness: its
figures mean nothing. A run takes about an hour; nothing else should run meanwhile.
"""

import argparse
import asyncio
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import ceilings, charts, costs, growth, large_images, pipeline, results, sizing, targets, watchers
from tests.benchmarks.peers import run as peers
from tests.benchmarks.results import Measurement
from tests.benchmarks.running import ROOT, stack_with_provider

FOLDER = ROOT / "out" / "bench"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much a run does."""

    #: Rounds whose median counts.
    rounds: int = 5
    #: Jobs of a round, and jobs that run alone one after the other.
    jobs: int = 480
    single: int = 200
    #: Open streams.
    streams: Sequence[int] = (1, 100, 3_000)
    #: Queued jobs and tenants, and finished jobs besides.
    queued: Sequence[int] = growth.QUEUED
    tenants: Sequence[int] = growth.TENANTS
    finished: int = 0
    #: Repetitions of an operation, and jobs that run while a snapshot is held.
    samples: int = growth.SAMPLES
    churn: int = growth.CHURN
    #: Images in a round, and their side in pixels; the size is 20 MB.
    images: int = 24
    side: int = large_images.SIDE
    #: Requests of a round to a server.
    requests: int = 4_000


SHORT = Sizes(
    rounds=1,
    jobs=20,
    single=5,
    streams=(1, 40),
    queued=(1_000,),
    tenants=(1, 10),
    samples=3,
    churn=10,
    images=2,
    side=500,
    requests=160,
)


def _pipeline(sizes: Sizes) -> list[Measurement]:
    with stack_with_provider() as (running, _):
        return asyncio.run(pipeline.measure(running, jobs=sizes.jobs, rounds=sizes.rounds, single=sizes.single))


PARTS: dict[str, Callable[[Sizes], list[Measurement]]] = {
    "costs": lambda sizes: costs.run(),
    "ceilings": lambda sizes: ceilings.run(count=sizes.requests, rounds=sizes.rounds),
    "pipeline": _pipeline,
    "peers": lambda sizes: peers.measure(jobs=sizes.jobs, rounds=sizes.rounds, alone=sizes.single),
    "watchers": lambda sizes: watchers.run(sizes.streams),
    "images": lambda sizes: large_images.run(images=sizes.images, rounds=sizes.rounds, side=sizes.side),
    "growth": lambda sizes: growth.run(
        queued=sizes.queued,
        tenants=sizes.tenants,
        finished=sizes.finished,
        samples=sizes.samples,
        churn=sizes.churn,
    ),
}


def main() -> int:
    """Measures; returns 1 when a part failed, after all others were measured and written."""
    options = _options()
    sizes = SHORT if options.short else Sizes()
    changes = {name: value for name in ("rounds", "finished") if (value := getattr(options, name)) is not None}
    sizes = Sizes(**(vars(sizes) | changes))
    about, found, failed = results.machine() | {"short": options.short}, list[Measurement](), list[str]()
    for part in options.parts:
        print(f"part: {part}", flush=True)
        try:
            found += PARTS[part](sizes)
        except Exception:  # noqa: BLE001 - an hour of other parts is not lost
            traceback.print_exc()
            failed.append(part)
        # What was measured so far is there, even if the run is interrupted.
        _write(options.out, about, found)
    print((options.out / "table.md").read_text(encoding="utf-8"))
    print(f"written to {options.out}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


def _write(folder: Path, about: dict[str, object], found: Sequence[Measurement]) -> None:
    derived = targets.compare(found)
    results.write(folder, about, [*derived, *found])
    charts.write(folder, found)
    (folder / "sizing.md").write_text(sizing.report(found), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, help="rounds whose median counts, 5 by default")
    parser.add_argument("--finished", type=int, help="finished jobs besides the queued ones, such as 10000000")
    parser.add_argument("--short", action="store_true", help="tiny sizes, to check the harness")
    parser.add_argument("--out", type=Path, default=FOLDER)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
