"""The wish to cancel at the provider: what is said of it at once, and how it ends with the last open call."""

from collections.abc import Mapping, Sequence

from services.job.domain.calls import OPEN, Phase, ProviderCall
from services.job.domain.jobs import Job, ProviderCancel
from services.job.domain.providers import Provider

#: Of several calls that end after a cancel, the worst is told: what may be charged comes last.
_WORST_LAST = (
    ProviderCancel.NOT_NEEDED,
    ProviderCancel.CONFIRMED,
    ProviderCancel.TOO_LATE,
    ProviderCancel.UNSUPPORTED,
)


def wish_of(calls: Sequence[ProviderCall], catalogue: Mapping[str, Provider]) -> ProviderCancel:
    """What a cancel means for the job's calls. Who cannot stop is not said to be asked."""
    asked = [catalogue.get(call.provider) for call in calls if call.phase in OPEN]
    if not asked:
        return ProviderCancel.NOT_NEEDED
    if any(provider is None or provider.capabilities.cancelable for provider in asked):
        return ProviderCancel.PENDING
    return ProviderCancel.UNSUPPORTED


def end_of_wish(job: Job, calls: Sequence[ProviderCall]) -> ProviderCancel | None:
    """How a canceled job's wish ended, once its last open call has; None while it has not, or when that is no news."""
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
        case Phase.NOT_SENT:
            return ProviderCancel.NOT_NEEDED
        case Phase.CANCELED:
            return ProviderCancel.CONFIRMED
        case Phase.UNKNOWN:
            return ProviderCancel.UNSUPPORTED
        case _:
            return ProviderCancel.TOO_LATE
