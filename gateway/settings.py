"""The gateway's settings, from environment variables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.admin_port import AdminSettings
from common.grpc_client import ClientSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ClientSettings, AdminSettings):
    """One field per `CALOTYPE_...` variable; docs/settings.md is made from the comments."""

    #: Address on which the HTTP API listens.
    http_listen: str
    #: Address of job-service's JobService.
    job_address: str
    #: Address of notifier-service's WebhookService.
    notifier_address: str
    #: YAML file with the API keys; the gateway does not start without it, except in `calotype up`.
    api_keys_file: Path | None = None
    #: Set by `calotype up` alone: local callers need no key while every provider is free. A gateway that listens on
    #: another address than loopback requires a key nevertheless.
    keyless_while_free: bool = False
    #: Address of a dashboard of one job, for `links.board` in the operators' view of a job; `{job_id}` and `{trace_id}`
    #: in it are replaced. Unset, the link is null.
    board_url: str | None = None
    #: URL of a trace at the program that shows traces, with `{trace_id}` for its id, such as
    #: `https://traces.example/trace/{trace_id}`; jobs then have it as `links.trace`. Unset: null.
    trace_url: str | None = None
    #: Start of every image's public URL, as for job-service: the studio at `/` may show and save images from there, and
    #: shows none if it is unset.
    public_base_url: str | None = None
    #: Least severe level that is written to the log; audit events are always written.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` writes one JSON object per line, `text` lines for people; `auto` is `text` on a terminal, else `json`.
    log_format: Literal["auto", "text", "json"] = "auto"
