"""What the audit, and the access line, are told of one request."""

import re
from typing import Any

from starlette.types import Scope

from common import audit
from gateway.auth.authenticator import principal_of
from gateway.auth.keyring import Principal

#: By these nothing changes.
_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
_DENIED = frozenset({401, 403})
_REASON, _OBJECT, _HIDDEN = "calotype.reason", "calotype.object", "calotype.hidden"
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: The client was gone before it was answered.
_UNANSWERED = "unanswered"
_ANSWERED, _REFUSED = 200, 400


def note_reason(scope: Scope, reason: str) -> None:
    """The request is refused for this reason."""
    scope[_REASON] = reason


def note_object(scope: Scope, object_id: str) -> None:
    """The request is about this job, which its path does not name."""
    scope[_OBJECT] = object_id


def note_hidden(scope: Scope) -> None:
    """The request is about what is not the caller's; the answer does not say so."""
    scope[_HIDDEN] = True


def actor_of(scope: Scope) -> audit.Actor:
    """Who sent the request, as far as that is known by now."""
    peer = scope["client"][0] if scope.get("client") else None
    principal = principal_of(scope)
    if principal is None:
        return audit.Actor(peer=peer)
    return audit.Actor(name=_name_of(principal), tenant=principal.tenant, role=principal.role, peer=peer)


def _name_of(principal: Principal) -> str:
    """The key by the beginning of its digest, a client token by that of its own and its key's; `local` without one."""
    key = f"key:{principal.key_sha256[:8]}" if principal.key_sha256 else "local"
    return f"token:{principal.token_id}/{key}" if principal.token_id else key


def decided(scope: Scope, *, status: int, replayed: bool, request_id: str) -> None:
    """Tell the audit of a request that was answered, 0 being never: every refusal of access, and every change."""
    actor = actor_of(scope)
    if status in _DENIED or scope.get(_HIDDEN):
        name, outcome = audit.REFUSED, scope.get(_REASON, str(status))
    elif scope["method"] not in _LOOKS and principal_of(scope) is not None:
        name, outcome = audit.ACTION, _outcome(scope, status, replayed=replayed)
    else:
        return
    audit.record(name, actor, action=_action(scope), about=_object(scope), outcome=outcome, request_id=request_id)


def _outcome(scope: Scope, status: int, *, replayed: bool) -> str:
    if _ANSWERED <= status < _REFUSED:
        return audit.REPLAYED if replayed else audit.DONE
    return str(scope.get(_REASON, status)) if status else _UNANSWERED


def _action(scope: Scope) -> str:
    """The operation's id in the API's description."""
    route: Any = scope.get("route")
    return getattr(route, "operation_id", None) or str(scope["method"])


def _object(scope: Scope) -> str | None:
    named = [scope.get(_OBJECT), *scope.get("path_params", {}).values()]
    return next((str(one) for one in named if one and _ID.fullmatch(str(one))), None)
