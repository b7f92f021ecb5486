"""The audit log's lines about one gRPC call."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc

from common import audit
from common.errors import ServiceError
from common.identities import Identity

_DENIED = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
#: The actor of every call to a server without an authorizer.
EVERYBODY = "everybody"


# Not frozen: identity and request become known while the call is under way.
@dataclass(kw_only=True)
class AuditedCall:
    """A gRPC call, as the audit log records it."""

    #: `/package.Service/Method`.
    method: str
    #: Address of the other end of the connection, as gRPC writes it: percent-encoded.
    peer: str
    #: Whether the method changes something; otherwise the log gets the call only when access is denied.
    changes: bool
    #: Whether the server identifies its callers.
    has_authorizer: bool
    #: The caller; None until it is identified.
    identity: Identity | None = None
    #: The request message; None until it is received.
    request: Any = None

    def done(self, response: Any) -> None:
        """Records that the call returned a response."""
        if self.changes:
            # A batch has a result, and a line, for each of its items.
            for result in getattr(response, "results", None) or [response]:
                self._record(audit.ACTION, _outcome(result), result)

    def failed(self, error: BaseException) -> None:
        """Records that the call ended with an error."""
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
        unidentified = audit.NOBODY if self.has_authorizer else EVERYBODY
        return audit.Actor(
            name=f"identity:{self.identity.name}" if self.identity else unidentified,
            tenant=getattr(self.request, "tenant", "") or None,
            role=",".join(sorted(self.identity.roles)) if self.identity else None,
            peer=unquote(self.peer),
        )


def _outcome(result: Any) -> str:
    if refused := getattr(getattr(result, "refusal", None), "reason", ""):
        return str(refused)
    return audit.REPLAYED if getattr(result, "replayed", False) else audit.DONE


def _object(request: Any, response: Any) -> str | None:
    """Returns the id of the call's object: from the request, or of what it created; None without any."""
    created = [getattr(getattr(response, name, None), "id", "") for name in ("job", "webhook", "pause")]
    ids = (*(getattr(request, name, "") for name in ("job_id", "webhook_id", "delivery_id", "id")), *created)
    return next((value for value in ids if isinstance(value, str) and value), None)
