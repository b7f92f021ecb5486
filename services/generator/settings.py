"""What generator-service reads from its environment."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.broker_settings import BrokerSettings
from common.grpc_access import ServerSettings
from common.grpc_client import ClientSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, ClientSettings, BrokerSettings):
    """One field per `CALOTYPE_...` variable; times in seconds."""

    worker_address: str
    staging_bucket: str
    grpc_listen: str
    providers_file: Path | None = None
    generator_slots: int = field(default=16, metadata={"min": 1, "max": 64})
    max_generating_seconds: float = field(default=600.0, metadata={"min": 1})
    grace_seconds: float = field(default=330.0, metadata={"min": 0})
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "json"
