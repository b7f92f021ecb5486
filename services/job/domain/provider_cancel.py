"""Canceling at the provider: the result at the time of the cancel, and after the last open call has ended."""

from collections.abc import Mapping, Sequence

from services.job.domain.calls import OPEN, CallPhase, ProviderCall
from services.job.domain.jobs import Job, ProviderCancel
from services.job.domain.providers import Provider

#: Of several calls that end after a cancel, the worst result counts: the one that may be charged.
_WORST_LAST = (
    ProviderCancel.NOT_NEEDED,
    ProviderCancel.CONFIRMED,
    ProviderCancel.TOO_LATE,
    ProviderCancel.UNSUPPORTED,
)


def cancel_requested(calls: Sequence[ProviderCall], catalogue: Mapping[str, Provider]) -> ProviderCancel:
    """Returns the result at the time of the cancel: UNSUPPORTED when no provider of an open call can cancel."""
    at_work = [catalogue.get(call.provider) for call in calls if call.phase in OPEN]
    if not at_work:
        return ProviderCancel.NOT_NEEDED
    if any(provider is None or provider.capabilities.cancelable for provider in at_work):
        return ProviderCancel.PENDING
    return ProviderCancel.UNSUPPORTED


def cancel_ended(job: Job, calls: Sequence[ProviderCall]) -> ProviderCancel | None:
    """Returns the result once the canceled job's last open call has ended; None before that or without a change."""
    if job.provider_cancel not in (ProviderCancel.PENDING, ProviderCancel.UNSUPPORTED):
        return None
    if job.completed_at is None or any(call.phase in OPEN for call in calls):
        return None
    ends = [_end(call) for call in calls if call.settled_at is not None and call.settled_at >= job.completed_at]
    end = max(ends, key=_WORST_LAST.index, default=ProviderCancel.TOO_LATE)
    if job.provider_cancel is ProviderCancel.UNSUPPORTED and end is not ProviderCancel.NOT_NEEDED:
        return None
    return end


def _end(call: ProviderCall) -> ProviderCancel:
    match call.phase:
        case CallPhase.NOT_SENT:
            return ProviderCancel.NOT_NEEDED
        case CallPhase.CANCELED:
            return ProviderCancel.CONFIRMED
        case CallPhase.UNKNOWN:
            return ProviderCancel.UNSUPPORTED
        case _:
            return ProviderCancel.TOO_LATE
