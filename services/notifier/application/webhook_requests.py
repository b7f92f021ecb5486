"""Requests for endpoints, and their validation."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.notifier.domain.endpoints import MAX_DESCRIPTION, Endpoint, Secret, SignatureScheme
from services.notifier.domain.events import SUBSCRIBABLE
from services.notifier.domain.refusals import Violation, invalid
from services.notifier.domain.urls import IsAllowedLiteral, fault

_NOT_ONE_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class NewWebhook:
    """A request for a new endpoint, not validated yet."""

    #: Owner.
    tenant: str
    #: The caller's key; "" for none.
    idempotency_key: str = ""
    #: URL to post to.
    url: str
    #: The tenant's own note.
    description: str = ""
    #: Event types to deliver; empty for all.
    event_types: tuple[str, ...] = ()
    #: How deliveries are signed.
    scheme: SignatureScheme = SignatureScheme.V1

    @property
    def fingerprint(self) -> bytes:
        """A digest by which repetitions are compared."""
        return digest(self.url, self.description, self.event_types, self.scheme)


@dataclass(frozen=True, kw_only=True)
class EndpointChange:
    """A change of an endpoint; None leaves a field as it is."""

    #: URL to post to; another URL is another receiver, so that its health begins anew.
    url: str | None = None
    #: The tenant's own note.
    description: str | None = None
    #: Event types to deliver; empty for all.
    event_types: tuple[str, ...] | None = None
    #: Whether events are delivered.
    enabled: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An endpoint with its secrets."""

    #: The endpoint.
    endpoint: Endpoint
    #: The secrets that sign now, newest first.
    secrets: Sequence[Secret]


@dataclass(frozen=True, kw_only=True)
class CreatedWebhook:
    """Result of a creation."""

    #: The endpoint.
    webhook: Webhook
    #: Its current secret.
    secret: Secret
    #: Whether the idempotency key was known and nothing was created.
    replayed: bool


def digest(*values: object) -> bytes:
    """Returns a SHA-256 digest of JSON values."""
    return hashlib.sha256(json.dumps(values).encode()).digest()


def check(
    *,
    url: str | None,
    description: str | None,
    event_types: Sequence[str] | None,
    is_allowed_literal: IsAllowedLiteral,
) -> None:
    """Raises `Refusal` INVALID_INPUT for invalid fields; None is no field."""
    violations = tuple(_violations(url, description, event_types, is_allowed_literal))
    if violations:
        raise invalid(*violations)


def _violations(
    url: str | None, description: str | None, event_types: Sequence[str] | None, is_allowed_literal: IsAllowedLiteral
) -> Iterator[Violation]:
    if url is not None and (message := fault(url, is_allowed_literal)) is not None:
        yield Violation(field="url", message=message)
    if description is not None and len(description) > MAX_DESCRIPTION:
        yield Violation(field="description", message=f"At most {MAX_DESCRIPTION} characters.")
    elif description is not None and _NOT_ONE_LINE.search(description):
        yield Violation(field="description", message="Must be one line without control characters.")
    if event_types is not None:
        yield from _wrong_types(event_types)


def _wrong_types(event_types: Sequence[str]) -> Iterator[Violation]:
    if len(event_types) > len(SUBSCRIBABLE):
        yield Violation(field="event_types", message=f"At most {len(SUBSCRIBABLE)}.")
        return
    for index, event_type in enumerate(event_types):
        if event_type not in SUBSCRIBABLE:
            yield Violation(field=f"event_types.{index}", message=f"One of {', '.join(SUBSCRIBABLE)}.")
