"""Settings of uploader-service."""

from dataclasses import dataclass, field
from typing import Literal

from common.broker_settings import BrokerSettings
from common.grpc_access import ServerSettings
from common.grpc_client import ClientSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, ClientSettings, BrokerSettings):
    """One field per `CALOTYPE_...` variable; docs/settings.md is made from the comments."""

    #: `host:port` of job-service's WorkerService.
    worker_address: str
    #: Name of the public bucket.
    bucket: str
    #: Name of the private staging bucket.
    staging_bucket: str
    #: `host:port` on which the service serves gRPC: health and operations.
    grpc_listen: str
    #: Uploads that run at once.
    uploader_slots: int = field(default=16, metadata={"min": 1, "max": 64})
    #: Seconds for which browsers and caches may keep a public image.
    public_cache_seconds: int = field(default=86_400, metadata={"min": 0})
    #: Seconds for which a process that stops waits for its running uploads.
    grace_seconds: float = field(default=330.0, metadata={"min": 0})
    #: Least severe level that is logged.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` for machines, `text` for people.
    log_format: Literal["text", "json"] = "json"
