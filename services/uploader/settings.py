"""What uploader-service reads from its environment."""

from dataclasses import dataclass, field
from typing import Literal

from common.broker_settings import BrokerSettings
from common.grpc_access import ServerSettings
from common.grpc_client import ClientSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, ClientSettings, BrokerSettings):
    """One field per `CALOTYPE_...` variable; times in seconds."""

    worker_address: str
    bucket: str
    staging_bucket: str
    grpc_listen: str
    uploader_slots: int = field(default=16, metadata={"min": 1, "max": 64})
    public_cache_seconds: int = field(default=86_400, metadata={"min": 0})
    grace_seconds: float = field(default=330.0, metadata={"min": 0})
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "json"
