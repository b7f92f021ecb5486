"""Whether a provider's limits allow further calls, which begin one after the other at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from calotype.error_reasons import Reason

from services.job.domain.jobs import Job
from services.job.domain.providers import Provider
from services.job.domain.refusals import Refusal
from services.job.domain.routing import provider_limit_reached

#: Length in seconds of the window of `requests_per_minute`.
WINDOW = 60.0


@dataclass(kw_only=True)
class CallLimits:
    """Use of a provider's limits at one moment."""

    #: The provider.
    provider: Provider
    #: The database's time.
    now: datetime
    #: Slots in use, by all calls.
    in_use: int
    #: Slots in use by earlier calls of the claims that are to begin calls, by job id; such calls have ended.
    own: Mapping[str, int]
    #: Times at which calls leave the window, the latest first; those before it are left out, see `skipped`.
    leave_at: Sequence[datetime]
    #: Number of later times that are left out of `leave_at`.
    skipped: int
    #: Calls that were allowed since.
    allowed: int = field(default=0, init=False)

    def allow(self, job: Job) -> None:
        """Counts a call of a job. Raises `Refusal` PROVIDER_BUSY."""
        name, slots, rate = self.provider.name, self.provider.max_concurrency, self.provider.requests_per_minute
        if slots and self.in_use - self.own.get(job.id, 0) + self.allowed >= slots:
            raise Refusal(Reason.PROVIDER_BUSY, provider_limit_reached(name, slots, is_rate=False))
        if rate and (at := self._frees_at(rate)) is not None:
            message = provider_limit_reached(name, rate, is_rate=True)
            wait = max((at - self.now).total_seconds(), 0.0)
            raise Refusal(Reason.PROVIDER_BUSY, message, retry_after_seconds=wait)
        self.allowed += 1

    def _frees_at(self, rate: int) -> datetime | None:
        """Returns when the limit's number of calls back from now leaves the window; None if there is none."""
        if self.allowed >= rate:
            return self.now + timedelta(seconds=WINDOW)
        position = rate - 1 - self.allowed - self.skipped
        return self.leave_at[position] if position < len(self.leave_at) else None
