"""Audit: a line of the log for each decision about what somebody may do, and for each change that somebody made.

All lines have the same fields: `actor`, `tenant`, `role`, `peer`, `action`, `object`, `outcome`. They are written
whatever the level of logging is, and hold no secret, no prompt and nothing of a message but the ids in it.
"""

import logging
import re
from dataclasses import dataclass

from common.logs import event

ACTION = "audit.action.taken"
REFUSED = "audit.access.refused"
RULES = "audit.rules.read"
#: What each event tells.
EVENTS = {
    ACTION: "somebody known asked for a change: `outcome` is `done`, `replayed`, or the reason of the refusal",
    REFUSED: "somebody unknown asked, or somebody known for what is another's: `outcome` is the reason",
    RULES: "a process took over a file of keys, identities or providers (`done`), or refused it (`refused`)",
}
DONE, REPLAYED = "done", "replayed"
NOBODY = "nobody"
#: The process itself, which the line names as `service`.
PROCESS = "process"
LONGEST = 200
_LOG = logging.getLogger("calotype.audit")
# Its own level, so that the process's, which operators change, hides no decision.
_LOG.setLevel(logging.INFO)
_UNPRINTABLE = re.compile(r"[^!-~]")


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asked. `name` says by what it is known, such as `key:1a2b3c4d` or `identity:gateway`; None is not known."""

    name: str = NOBODY
    tenant: str | None = None
    role: str | None = None
    #: The other end of the connection: a proxy's address, where one is in front.
    peer: str | None = None

    def fields(self) -> dict[str, str | None]:
        """As fields of a line of the log."""
        every = {"actor": self.name, "tenant": self.tenant, "role": self.role, "peer": self.peer}
        return {name: _plain(value) for name, value in every.items()}


def record(name: str, actor: Actor, *, action: str, about: str | None, outcome: str, **more: str) -> None:
    """Write an event of `EVENTS`; `about` is the id of what the action was done to, None when there is none."""
    level = logging.WARNING if name == REFUSED else logging.INFO
    told = {"action": action, "object": about, "outcome": outcome} | more
    event(_LOG, level, name, **actor.fields(), **{key: _plain(value) for key, value in told.items()})


def _plain(value: str | None) -> str | None:
    """What callers named, as it can stand in a line: printable, without spaces, and short."""
    return None if value is None else _UNPRINTABLE.sub("?", value[:LONGEST])
