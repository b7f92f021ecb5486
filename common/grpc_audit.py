"""What the audit is told of one gRPC call."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc

from common import audit
from common.errors import ServiceError
from common.identities import Identity

_DENIED = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
#: Where no identities are known, whoever reaches the port is everybody.
EVERYBODY = "everybody"


# Not frozen: identity and request are known while the call is under way.
@dataclass(kw_only=True)
class AuditedCall:
    """A call: `method` is `/package.Service/Method`; one that changes nothing is told of only when it is refused."""

    method: str
    peer: str
    changes: bool
    has_authorizer: bool
    identity: Identity | None = None
    request: Any = None

    def done(self, response: Any) -> None:
        """It was answered."""
        if self.changes:
            outcome = audit.REPLAYED if getattr(response, "replayed", False) else audit.DONE
            self._record(audit.ACTION, outcome, response)

    def failed(self, error: BaseException) -> None:
        """It was refused, or never answered."""
        reason = error.reason if isinstance(error, ServiceError) else type(error).__name__
        if isinstance(error, ServiceError) and (error.status in _DENIED or error.hides):
            self._record(audit.REFUSED, reason)
        elif self.changes:
            self._record(audit.ACTION, reason)

    def _record(self, name: str, outcome: str, response: Any = None) -> None:
        audit.record(
            name, self._actor(), action=self.method.lstrip("/"), about=_object(self.request, response), outcome=outcome
        )

    def _actor(self) -> audit.Actor:
        known = (
            f"identity:{self.identity.name}" if self.identity else audit.NOBODY if self.has_authorizer else EVERYBODY
        )
        return audit.Actor(
            name=known,
            tenant=getattr(self.request, "tenant", "") or None,
            role=",".join(sorted(self.identity.roles)) if self.identity else None,
            peer=unquote(self.peer),
        )


def _object(request: Any, response: Any) -> str | None:
    """The id of what the call was about."""
    job = getattr(response, "job", None)
    named = (getattr(request, "job_id", ""), getattr(request, "id", ""), getattr(job, "id", ""))
    return next((one for one in named if isinstance(one, str) and one), None)
