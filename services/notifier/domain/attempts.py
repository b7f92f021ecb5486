"""The outcome of one request to a receiver."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

#: Characters of a response that are recorded.
MAX_RESPONSE = 1_024
#: Statuses of a receiver that is overloaded rather than broken.
OVERLOADED = frozenset({429, 503})
#: Status of a receiver that wants no more events.
GONE = 410


class AttemptError(StrEnum):
    """Class of a failed attempt."""

    #: The host's name could not be resolved.
    DNS = "dns"
    #: An address of the host is not public, or the port is not allowed.
    BLOCKED_ADDRESS = "blocked_address"
    #: No connection could be made.
    CONNECT = "connect"
    #: The TLS handshake failed.
    TLS = "tls"
    #: Status and headers did not arrive in time.
    TIMEOUT_HEADERS = "timeout_headers"
    #: The body did not end in time.
    TIMEOUT_BODY = "timeout_body"
    #: The connection broke, or the response is no HTTP.
    PROTOCOL = "protocol"
    #: The receiver returned a redirect, which is not followed.
    REDIRECT_REFUSED = "redirect_refused"
    #: The receiver returned another status than 2xx.
    STATUS = "status"
    #: The forward proxy failed.
    PROXY = "proxy"
    #: The process that made the attempt ended before it recorded the outcome.
    ABANDONED = "abandoned"


#: Failures that are not the receiver's: they change neither its health nor the attempts that count.
OWN_FAULTS = frozenset({AttemptError.PROXY, AttemptError.ABANDONED})
TIMEOUTS = frozenset({AttemptError.TIMEOUT_HEADERS, AttemptError.TIMEOUT_BODY})


@dataclass(frozen=True, kw_only=True)
class AttemptOutcome:
    """What an attempt came to."""

    #: Milliseconds from its begin to its end.
    duration_ms: int
    #: HTTP status; None without a response.
    status: int | None = None
    #: None for a success.
    error: AttemptError | None = None
    #: One sentence for people about the failure; empty for a success.
    message: str = ""
    #: First characters of the response's body, at most `MAX_RESPONSE`; empty for private receivers.
    response: str = ""
    #: The receiver's Retry-After in seconds; None for none.
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the event counts as delivered."""
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver said that it wants no more events."""
        return self.error is AttemptError.STATUS and self.status == GONE

    @property
    def is_own_fault(self) -> bool:
        """Whether the failure is not the receiver's."""
        return self.error in OWN_FAULTS

    @property
    def is_overload(self) -> bool:
        """Whether the receiver said that it has too much to do."""
        return self.error is AttemptError.STATUS and self.status in OVERLOADED


@dataclass(frozen=True, kw_only=True)
class DeliveryAttempt:
    """An attempt as it was recorded."""

    #: From 1, over all attempts of the delivery.
    number: int
    #: When it began.
    started_at: datetime
    #: Whether it checked a degraded endpoint, and so does not count against the limit.
    is_probe: bool
    #: What it came to; without `retry_after`.
    outcome: AttemptOutcome
