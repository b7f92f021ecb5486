"""What uploader-service reads from its environment."""

from dataclasses import dataclass, field
from typing import Literal

from common.admin_port import AdminSettings
from common.broker_settings import BrokerSettings
from common.grpc_access import ServerSettings
from common.grpc_client import ClientSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, ClientSettings, BrokerSettings, AdminSettings):
    """One field per `CALOTYPE_...` variable; docs/settings.md is made from the comments."""

    #: Address of job-service's WorkerService.
    worker_address: str
    #: Public bucket for finished images.
    bucket: str
    #: Private bucket with generated images; the generator must name the same one.
    staging_bucket: str
    #: Address on which the process serves its health, status and OperationsService.
    grpc_listen: str
    #: Jobs that the process uploads at a time.
    uploader_slots: int = field(default=16, metadata={"min": 1, "max": 64})
    #: Time for which browsers and caches may keep a public image (`Cache-Control: max-age`), also after its deletion.
    public_cache_seconds: int = field(default=86_400, metadata={"min": 0})
    #: Time that work under way has to finish after SIGTERM; less than what the orchestrator waits before it kills.
    grace_seconds: float = field(default=150.0, metadata={"min": 0})
    #: Least severe level that is written to the log; audit events are always written.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` writes one JSON object per line, `text` lines for people; `auto` is `text` on a terminal, else `json`.
    log_format: Literal["auto", "text", "json"] = "auto"
