"""Collects what the audit log and the access log record about one request."""

import re
from collections.abc import Sequence
from typing import Any

from starlette.types import Scope

from common import audit
from gateway.auth.authenticator import principal_of
from gateway.auth.keyring import Principal

_READ_ONLY_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DENIED = frozenset({401, 403})
_REASON, _OBJECT, _HIDDEN = "calotype.reason", "calotype.object", "calotype.hidden"
_RESULTS = "calotype.results"
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: Outcome where the client disconnected before the response.
_UNANSWERED = "unanswered"
_OK, _BAD_REQUEST = 200, 400


def note_reason(scope: Scope, reason: str) -> None:
    """Records why the request was refused."""
    scope[_REASON] = reason


def note_object(scope: Scope, object_id: str) -> None:
    """Records the job of the request where the path does not contain its id."""
    scope[_OBJECT] = object_id


def note_results(scope: Scope, results: Sequence[tuple[str | None, str]]) -> None:
    """Records the job and the outcome of each item of a batch; the audit log gets a line for each."""
    scope[_RESULTS] = results


def note_hidden(scope: Scope) -> None:
    """Records that the request is for another tenant's object, though the response says only that it is not found."""
    scope[_HIDDEN] = True


def actor_of(scope: Scope) -> audit.Actor:
    """Returns the sender of the request, with only its address until it has been authenticated."""
    peer = scope["client"][0] if scope.get("client") else None
    principal = principal_of(scope)
    if principal is None:
        return audit.Actor(peer=peer)
    return audit.Actor(name=_name_of(principal), tenant=principal.tenant, role=principal.role, peer=peer)


def _name_of(principal: Principal) -> str:
    """Returns `key:` with the start of the key's digest, `token:` with the token's and its key's, or `local`."""
    key = f"key:{principal.key_sha256[:8]}" if principal.key_sha256 else "local"
    return f"token:{principal.token_id}/{key}" if principal.token_id else key


def record_request(scope: Scope, *, status: int, replayed: bool, request_id: str) -> None:
    """Writes every refused access and every change to the audit log; `status` 0 means that no response was sent."""
    actor = actor_of(scope)
    if status in _DENIED or scope.get(_HIDDEN):
        name, results = audit.REFUSED, [(_object(scope), scope.get(_REASON, str(status)))]
    elif scope["method"] not in _READ_ONLY_METHODS and principal_of(scope) is not None:
        name = audit.ACTION
        results = scope.get(_RESULTS) or [(_object(scope), _outcome(scope, status, replayed=replayed))]
    else:
        return
    for about, outcome in results:
        audit.record(name, actor, action=_action(scope), about=about, outcome=outcome, request_id=request_id)


def _outcome(scope: Scope, status: int, *, replayed: bool) -> str:
    if _OK <= status < _BAD_REQUEST:
        return audit.REPLAYED if replayed else audit.DONE
    return str(scope.get(_REASON, status)) if status else _UNANSWERED


def _action(scope: Scope) -> str:
    """Returns the operationId of the OpenAPI document, or the method where no route matched."""
    route: Any = scope.get("route")
    return getattr(route, "operation_id", None) or str(scope["method"])


def _object(scope: Scope) -> str | None:
    candidates = [scope.get(_OBJECT), *scope.get("path_params", {}).values()]
    return next((str(object_id) for object_id in candidates if object_id and _ID.fullmatch(str(object_id))), None)
