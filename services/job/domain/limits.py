"""How long things may take."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits in seconds, and the number of attempts that TEMPORARY and TIMEOUT failures allow."""

    lease_seconds: float = 30.0
    max_processing_seconds: float = 60.0
    max_generating_seconds: float = 600.0
    max_uploading_seconds: float = 120.0
    max_queued_seconds: float = 86_400.0
    max_attempts: int = 3
