"""Time limits of the stages of a job."""

from dataclasses import dataclass

#: A write to the object store takes effect within this time or never; as `common.object_store.LONGEST_WRITE_SECONDS`.
LONGEST_WRITE_SECONDS = 60.0
#: Longest time after the end of its claim in which a generator still fetches, checks and begins to stage paid images.
LATE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class StageTimeouts:
    """Time limits in seconds, and the limit of attempts."""

    #: Duration of a lease; workers renew it every third of it.
    lease_seconds: float = 30.0
    #: Longest time from a claim to its first provider call.
    max_processing_seconds: float = 60.0
    #: Longest time from a claim to the end of its calls.
    max_generating_seconds: float = 600.0
    #: Longest time of one upload claim.
    max_uploading_seconds: float = 120.0
    #: Longest total wait in QUEUED, and longest wait for an uploader.
    max_queued_seconds: float = 86_400.0
    #: Failures of code TEMPORARY or TIMEOUT after which the job fails, per code and kind of work.
    max_attempts: int = 3

    @property
    def copies_end_seconds(self) -> float:
        """Seconds after the end of a job in which a late uploader may still write public objects."""
        return max(self.lease_seconds, self.max_uploading_seconds) + LONGEST_WRITE_SECONDS

    @property
    def staging_ends_seconds(self) -> float:
        """Seconds after the end of a job without open calls in which a late generator may still stage objects."""
        return max(self.lease_seconds, self.max_generating_seconds) + LATE_SECONDS + LONGEST_WRITE_SECONDS
