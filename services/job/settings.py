"""Settings of job-service, read from its environment."""

from dataclasses import dataclass, field
from typing import Literal

from common.broker_settings import BrokerSettings
from common.grpc_access import ServerSettings
from services.job.domain.timeouts import StageTimeouts


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, BrokerSettings):
    """One field per `CALOTYPE_...` variable; times in seconds."""

    #: URL of the PostgreSQL database.
    database_url: str = field(metadata={"secret": True})
    #: Address of the gRPC server for clients and operators.
    grpc_listen: str
    #: Address of the gRPC server for workers.
    worker_listen: str
    #: Base of the public URLs of images.
    public_base_url: str
    #: Duration of a lease.
    lease_seconds: float = field(default=30.0, metadata={"min": 0.5})
    #: Longest time from a claim to its first provider call.
    max_processing_seconds: float = field(default=60.0, metadata={"min": 1})
    #: Longest time from a claim to the end of its calls.
    max_generating_seconds: float = field(default=600.0, metadata={"min": 1})
    #: Longest time of one upload claim.
    max_uploading_seconds: float = field(default=120.0, metadata={"min": 1})
    #: Longest total wait of a job in the queue, and for an uploader.
    max_queued_seconds: float = field(default=86_400.0, metadata={"min": 1})
    #: Time between two runs of the stale-job monitor.
    monitor_interval_seconds: float = field(default=5.0, metadata={"min": 0.05})
    #: Days after which final jobs are deleted, with their public images.
    retention_days: int = field(default=90, metadata={"min": 1})
    #: Days for which idempotency keys and the rows of deleted jobs are kept.
    idempotency_retention_days: int = field(default=365, metadata={"min": 1})
    #: Failures of code TEMPORARY or TIMEOUT after which a job fails.
    max_attempts: int = field(default=3, metadata={"min": 1, "max": 100})
    #: Servers of the broker's cluster that hold each message.
    stream_replicas: int = field(default=1, metadata={"min": 1, "max": 5})
    #: Least severe level that is logged.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` for one object per line, `text` for people.
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
