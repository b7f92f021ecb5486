"""`python -m tests.chaos --minutes 10 --seed 1`: seed, matrix, and one line per rule; exit code 1 if one is broken."""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.report import told
from tests.chaos.run import NOISE_SECONDS, Plan, run
from tests.chaos.versions import check_out

LEAST_PER_CELL = 3
#: Storage and broker are away for so long once, where a run is long enough for that.
TWO_MINUTES = 120.0


def main() -> int:
    """Run, print, and say whether all held."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="longest time of load and faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=300, help="ends when so many faults hit a job in flight,")
    parser.add_argument("--jobs", type=int, default=2000, help="so many jobs were accepted, and each cell was hit")
    parser.add_argument("--replicas", type=int, default=3, help="of each service")
    parser.add_argument("--at-once", type=int, default=24, help="jobs in flight")
    parser.add_argument("--noise", type=float, default=NOISE_SECONDS, help="seconds that a busy machine takes longer")
    parser.add_argument("--other", type=Path, help="checkout of another version, installed, that services change to")
    parser.add_argument("--upgrade", metavar="REF", help="services begin as that commit, and are replaced one by one")
    parser.add_argument(
        "--failover", action="store_true", help="PostgreSQL with a standby, three of NATS; both fail over"
    )
    parser.add_argument("--only", default="", help="pattern in the names of the faults that are wanted, as 'fail over'")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="calotype-chaos-"))
    plan = Plan(
        seed=asked.seed,
        minutes=asked.minutes,
        faults=asked.faults,
        jobs=asked.jobs,
        least=LEAST_PER_CELL,
        at_once=asked.at_once,
        replicas=asked.replicas,
        other=check_out(asked.upgrade, folder / "older") if asked.upgrade else asked.other and asked.other.absolute(),
        upgrades=bool(asked.upgrade),
        failover=asked.failover,
        only=asked.only,
        noise=asked.noise,
        longest_outage=TWO_MINUTES if asked.minutes >= 20 else 15.0,
    )
    # The stack is stopped whoever ends the run.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = run(plan, folder)
    print(told(result))
    is_full = all(result.score.cells[cell] for cell in result.cells)
    if not result.holds or not is_full:
        print(f"data and logs are kept in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
