"""Audit log: one line for each access decision, and one for each change that a caller made.

All lines have the same fields: `actor`, `tenant`, `role`, `peer`, `action`, `object`, `outcome`. They are written at
every log level. They hold no secret, no prompt, and of a request or response only the ids.
"""

import logging
import re
from dataclasses import dataclass

from common.logs import AUDIT_LOGGER, event

ACTION = "audit.action.taken"
REFUSED = "audit.access.refused"
RULES = "audit.rules.read"
#: What each event means.
EVENTS = {
    ACTION: "a known caller requested a change: `outcome` is `done`, `replayed`, or the reason of the error",
    REFUSED: "an unknown caller, or a known caller without access to the object: `outcome` is the reason",
    RULES: "a process loaded a file of keys, identities or providers (`done`), or rejected it (`refused`)",
}
DONE, REPLAYED = "done", "replayed"
NOBODY = "nobody"
#: The actor of lines about the process itself; the line's `service` says which process.
PROCESS = "process"
#: Characters of a field's value that are written; the rest is cut off.
MAX_VALUE_LENGTH = 200
_LOG = logging.getLogger(AUDIT_LOGGER)
# A separate level: operators may change the level of the process, and that must hide no decision.
_LOG.setLevel(logging.INFO)
_UNPRINTABLE = re.compile(r"[^!-~]")


@dataclass(frozen=True, kw_only=True)
class Actor:
    """The caller of an audited action; a field that is None is unknown."""

    #: The credential that identified the caller, such as `key:1a2b3c4d` or `identity:gateway`.
    name: str = NOBODY
    #: Tenant for which the caller acts.
    tenant: str | None = None
    #: Role of the caller; several roles are joined by commas.
    role: str | None = None
    #: Address of the other end of the connection; behind a proxy, the proxy's address.
    peer: str | None = None

    def fields(self) -> dict[str, str | None]:
        """Returns the actor as fields of a log line."""
        fields = {"actor": self.name, "tenant": self.tenant, "role": self.role, "peer": self.peer}
        return {name: _printable(value) for name, value in fields.items()}


def record(name: str, actor: Actor, *, action: str, about: str | None, outcome: str, **more: str) -> None:
    """Writes an event of `EVENTS`; `about` is the id of the object of the action, None when it has none."""
    level = logging.WARNING if name == REFUSED else logging.INFO
    fields = {"action": action, "object": about, "outcome": outcome} | more
    event(_LOG, level, name, **actor.fields(), **{key: _printable(value) for key, value in fields.items()})


def _printable(value: str | None) -> str | None:
    """Returns a value from a caller made safe for one log line: printable ASCII, no spaces, `MAX_VALUE_LENGTH`."""
    return None if value is None else _UNPRINTABLE.sub("?", value[:MAX_VALUE_LENGTH])
