"""What generator-service reads from its environment."""

from dataclasses import dataclass, field
from pathlib import Path
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
    #: Private bucket for generated images; the uploader must name the same one.
    staging_bucket: str
    #: Address on which the process serves its health, status and OperationsService.
    grpc_listen: str
    #: YAML file with the providers; without it the only provider is `procedural`.
    providers_file: Path | None = None
    #: Jobs that the process handles at a time.
    generator_slots: int = field(default=16, metadata={"min": 1, "max": 64})
    #: Longest `timeout_seconds` that a provider may have; job-service must have the same value.
    max_generating_seconds: float = field(default=600.0, metadata={"min": 1})
    #: Time that work under way has to finish after SIGTERM; less than what the orchestrator waits before it kills.
    grace_seconds: float = field(default=630.0, metadata={"min": 0})
    #: Whether traces contain the prompts of jobs, for debugging; they are private data of the users.
    trace_prompts: bool = False
    #: Least severe level that is written to the log; audit events are always written.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` writes one JSON object per line, `text` lines for people; `auto` is `text` on a terminal, else `json`.
    log_format: Literal["auto", "text", "json"] = "auto"
