"""`make fresh`: the commands of the README on newly installed Debian systems; exit code 1 if one of them fails.

    make fresh                                        # Debian 12, 13 and sid: make demo, make demo, make test
    make fresh SYSTEMS=sid COMMANDS=test ARGS="-k name"   # a part; ARGS is for make test
    make fresh COMMANDS=ci                            # .ci/run, which installs more packages first
    make fresh RIGHTS=machine                         # with all of root's capabilities, as on a machine of one's own

It needs Linux, root with the right to mount, and debootstrap, git and util-linux. debootstrap installs each system
once a week into `.fresh/bases`; every run has a copy of it in `.fresh/systems` and clones HEAD into `/root/calotype`
there. What failed stays there until the next run; the output of each command stays in `.fresh/logs`.

The commands run as root with HOME=/root, in namespaces of their own for mounts and processes, so that nothing is
mounted or running any more when this program ends, however it ends. The network and its settings are those of this
machine: resolv.conf, hosts, certificates, proxies and the configuration of pip. Unlike in most containers there is no
filter of system calls (seccomp), so user namespaces can be made.
"""

import argparse
import os
import sys
from pathlib import Path

from tests.fresh.entering import RIGHTS, missing
from tests.fresh.folder import alone_in, removed
from tests.fresh.running import Plan, run
from tests.fresh.table import table
from tests.fresh.words import FreshError, Outcome

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run, print the table, and say whether all was well."""
    asked, folder, outcomes, code = _arguments(), ROOT / ".fresh", list[Outcome](), 0
    try:
        if not asked.clean and (lack := missing()):
            raise FreshError(lack)
        with alone_in(folder):
            if asked.clean:
                removed(folder)
                return 0
            for outcome in run(_plan(asked, folder)):
                outcomes.append(outcome)
    except (FreshError, OSError) as error:
        print(f"make fresh: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    if outcomes:
        print("", *table(outcomes), sep="\n", flush=True)
    return code or int(not all(one.is_good for one in outcomes))


def _plan(asked: argparse.Namespace, folder: Path) -> Plan:
    return Plan(
        source=ROOT,
        folder=folder,
        systems=tuple(asked.systems.split()),
        commands=tuple(asked.commands.split()),
        arguments=os.environ.get("ARGS", ""),
        rights=asked.rights,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fresh", description="Both commands on newly installed systems.")
    parser.add_argument("--systems", default="bookworm trixie sid", help="suites of Debian")
    parser.add_argument("--commands", default="demo demo test", help="targets of make; ci is .ci/run")
    parser.add_argument("--rights", choices=sorted(RIGHTS), default="container")
    parser.add_argument("--clean", action="store_true", help="remove the systems, and do nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
