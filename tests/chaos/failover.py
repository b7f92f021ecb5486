"""Failovers: the database's primary dies and its standby takes over; the broker's leader is away for a while."""

import psutil

from tests.chaos.stack import ChaosStack
from tests.support.patience import PATIENCE


def fail_over_database(stack: ChaosStack) -> None:
    """The primary is killed, the standby is promoted, and the first comes back as its standby, with a fresh copy."""
    assert stack.pair is not None
    # Commits wait for a standby, and none is promoted that they have not waited for.
    stack.pair.wait_synchronous()
    died = stack.pair.primary
    family = stack.family(died)
    stack.hold_down(died)
    psutil.wait_procs(family, PATIENCE)
    stack.pair.promote()
    stack.pair.copy_to_standby()
    stack.let_up(died)
    stack.wait_ready(died)
    stack.pair.wait_synchronous()
