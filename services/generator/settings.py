"""Settings of generator-service."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.broker_settings import BrokerSettings
from common.grpc_access import ServerSettings
from common.grpc_client import ClientSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, ClientSettings, BrokerSettings):
    """One field per `CALOTYPE_...` variable; docs/settings.md is made from the comments."""

    #: `host:port` of job-service's WorkerService.
    worker_address: str
    #: Name of the private staging bucket.
    staging_bucket: str
    #: `host:port` on which the service serves gRPC: health and operations.
    grpc_listen: str
    #: YAML file of the providers. None: only the built-in provider.
    providers_file: Path | None = None
    #: Jobs that run at once.
    generator_slots: int = field(default=16, metadata={"min": 1, "max": 64})
    #: Upper bound in seconds on the timeout of a provider; the same as job-service's limit of the generating stage.
    max_generating_seconds: float = field(default=600.0, metadata={"min": 1})
    #: Seconds for which a process that stops waits for its running jobs.
    grace_seconds: float = field(default=330.0, metadata={"min": 0})
    #: Least severe level that is logged.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` for machines, `text` for people.
    log_format: Literal["text", "json"] = "json"
