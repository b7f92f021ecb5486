"""How long things may take."""

from dataclasses import dataclass

#: What was asked of the object store has happened by then, or never does: `common.object_store.LONGEST_WRITE_SECONDS`.
LONGEST_WRITE_SECONDS = 60.0
#: After its claim's time a generator fetches, checks and begins to stage what it has paid for, for so long at most.
LATE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class StageTimeouts:
    """StageTimeouts in seconds, and the number of attempts that TEMPORARY and TIMEOUT failures allow."""

    lease_seconds: float = 30.0
    max_processing_seconds: float = 60.0
    max_generating_seconds: float = 600.0
    max_uploading_seconds: float = 120.0
    max_queued_seconds: float = 86_400.0
    max_attempts: int = 3

    @property
    def copies_end_seconds(self) -> float:
        """Nothing comes to the public bucket of a job that has been over for so long."""
        return max(self.lease_seconds, self.max_uploading_seconds) + LONGEST_WRITE_SECONDS

    @property
    def staging_ends_seconds(self) -> float:
        """Nothing comes to staging of a job that has been over, without an open call, for so long."""
        return max(self.lease_seconds, self.max_generating_seconds) + LATE_SECONDS + LONGEST_WRITE_SECONDS
