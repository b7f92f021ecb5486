"""Settings of job-service, read from its environment."""

from dataclasses import dataclass, field
from typing import Literal

from common.admin_port import AdminSettings
from common.broker_settings import BrokerSettings
from common.grpc_access import ServerSettings
from services.job.domain.timeouts import StageTimeouts


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, BrokerSettings, AdminSettings):
    """One field per `CALOTYPE_...` variable; docs/settings.md is made from the comments."""

    #: PostgreSQL database of the jobs, `postgresql://USER:PASSWORD@HOST:PORT/NAME`. With several `HOST:PORT` and commas
    #: between them, the one that takes writes is used.
    database_url: str = field(metadata={"secret": True})
    #: Address on which JobService and the operator services listen, for clients.
    grpc_listen: str
    #: Address on which WorkerService and health listen, for generators and uploaders.
    worker_listen: str
    #: Start of every image's public URL; the object's name follows. It must lead to the uploader's public bucket.
    public_base_url: str
    #: Time after which a worker that stopped renewing its lease loses its job.
    lease_seconds: float = field(default=30.0, metadata={"min": 0.5})
    #: Longest time from a job's claim to its first provider call.
    max_processing_seconds: float = field(default=60.0, metadata={"min": 1})
    #: Longest time from the claim of a job to the end of its generating; generators must have the same value.
    max_generating_seconds: float = field(default=600.0, metadata={"min": 1})
    #: Longest time of one try to upload a job's images.
    max_uploading_seconds: float = field(default=120.0, metadata={"min": 1})
    #: Longest time that a job waits for a worker, all its waits together; then it fails with DEADLINE_EXCEEDED.
    max_queued_seconds: float = field(default=86_400.0, metadata={"min": 1})
    #: Time between two ticks of the stale-job monitor, which rescues jobs of dead workers.
    monitor_interval_seconds: float = field(default=5.0, metadata={"min": 0.05})
    #: Time after which a final job is deleted, with its public images, inputs and metadata.
    retention_days: int = field(default=90, metadata={"min": 1})
    #: Time for which an idempotency key is remembered, also after its job was deleted.
    idempotency_retention_days: int = field(default=365, metadata={"min": 1})
    #: Attempts of a stage that TEMPORARY and TIMEOUT failures allow.
    max_attempts: int = field(default=3, metadata={"min": 1, "max": 100})
    #: Servers of the broker's cluster that hold each message; 1 for a single server. Copies are added, never removed.
    stream_replicas: int = field(default=1, metadata={"min": 1, "max": 5})
    #: Least severe level that is written to the log; audit events are always written.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` writes one JSON object per line, `text` lines for people; `auto` is `text` on a terminal, else `json`.
    log_format: Literal["auto", "text", "json"] = "auto"

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
