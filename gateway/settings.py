"""What the gateway reads from its environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.grpc_client import ClientSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ClientSettings):
    """One field per `CALOTYPE_...` variable."""

    http_listen: str
    job_address: str
    #: Where metrics are served; nowhere unless it is given.
    admin_listen: str | None = None
    api_keys_file: Path | None = None
    #: Only `calotype up` sets it: callers on this machine need no key while every provider is free. A gateway that
    #: listens on another address than loopback asks for a key all the same.
    keyless_while_free: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "json"
