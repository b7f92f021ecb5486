"""The gateway's settings, from environment variables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.grpc_client import ClientSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ClientSettings):
    """Each field is the environment variable `CALOTYPE_<NAME>`."""

    #: HOST:PORT of the HTTP API, such as 0.0.0.0:8080.
    http_listen: str
    #: HOST:PORT of job-service's gRPC server.
    job_address: str
    #: HOST:PORT where `GET /metrics` is served; None: metrics are not served.
    admin_listen: str | None = None
    #: The file with tenants, digests of their API keys and limits; required unless `keyless_while_free` is set.
    api_keys_file: Path | None = None
    #: Lets local requests without a key through while every provider is free; only `calotype up` sets it. Has no effect
    #: on a gateway that listens on an address other than loopback.
    keyless_while_free: bool = False
    #: Least severe level that is logged.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` writes one JSON object per line; `text` is for people.
    log_format: Literal["text", "json"] = "json"
