"""Refused requests: the reason, the message, and the fields that are wrong."""

from dataclasses import dataclass

from calotype.error_reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One invalid field of a request."""

    #: Path of the field, such as `url` or `event_types.0`.
    field: str
    #: What is wrong, or what is allowed; one sentence.
    message: str


class Refusal(Exception):
    """A refused request.

    `reason` is a name in `calotype.error.v1.Reason`, without its prefix; `message` is for people. `hides` is for the
    audit alone: the requested object exists and is another tenant's.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        violations: tuple[Violation, ...] = (),
        retry_after_seconds: float | None = None,
        hides: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = violations
        self.retry_after_seconds = retry_after_seconds
        self.hides = hides


def webhook_not_found(written_id: str, *, hides: bool = False) -> Refusal:
    """Builds the refusal for an endpoint that does not exist; another tenant's endpoint gets the same message."""
    return Refusal(Reason.NOT_FOUND, f"There is no webhook {written_id[:80]!r}.", hides=hides)


def delivery_not_found(written_id: str, *, hides: bool = False) -> Refusal:
    """Builds the refusal for a delivery that does not exist; another tenant's delivery gets the same message."""
    return Refusal(Reason.NOT_FOUND, f"There is no delivery {written_id[:80]!r}.", hides=hides)


def invalid(*violations: Violation) -> Refusal:
    """Builds the refusal for invalid fields; at least one."""
    first = violations[0]
    return Refusal(Reason.INVALID_INPUT, f"{first.field}: {first.message}", violations=violations)
