"""Settings of job-service, read from its environment."""

from dataclasses import dataclass, field
from typing import Literal

from common.broker_settings import BrokerSettings
from common.grpc_access import ServerSettings
from services.job.domain.timeouts import StageTimeouts


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, BrokerSettings):
    """One field per `CALOTYPE_...` variable; times in seconds."""

    database_url: str = field(metadata={"secret": True})
    #: JobService, for clients.
    grpc_listen: str
    #: WorkerService, for workers.
    worker_listen: str
    public_base_url: str
    lease_seconds: float = field(default=30.0, metadata={"min": 0.5})
    max_processing_seconds: float = field(default=60.0, metadata={"min": 1})
    max_generating_seconds: float = field(default=600.0, metadata={"min": 1})
    max_uploading_seconds: float = field(default=120.0, metadata={"min": 1})
    max_queued_seconds: float = field(default=86_400.0, metadata={"min": 1})
    monitor_interval_seconds: float = field(default=5.0, metadata={"min": 0.05})
    retention_days: int = field(default=90, metadata={"min": 1})
    idempotency_retention_days: int = field(default=365, metadata={"min": 1})
    max_attempts: int = field(default=3, metadata={"min": 1, "max": 100})
    #: Servers of the broker's cluster that hold each message.
    stream_replicas: int = field(default=1, metadata={"min": 1, "max": 5})
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "json"

    @property
    def limits(self) -> StageTimeouts:
        """The time limits as the domain uses them."""
        return StageTimeouts(
            lease_seconds=self.lease_seconds,
            max_processing_seconds=self.max_processing_seconds,
            max_generating_seconds=self.max_generating_seconds,
            max_uploading_seconds=self.max_uploading_seconds,
            max_queued_seconds=self.max_queued_seconds,
            max_attempts=self.max_attempts,
        )
