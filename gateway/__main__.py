"""Starts the gateway: settings, keys, channel, application, server."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

from calotype.environment import SETTINGS
from calotype.size_limits import MAX_JOB_MESSAGE_BYTES

from common import admin_port, config, http_server, lifecycle, logs
from common.certificate_expiry import CertificateExpiry, certificate_files
from common.grpc_client import channel
from common.health import Readiness
from common.loops import run_every
from common.network.addresses import is_loopback
from common.telemetry import trace_links
from common.tracing import tracing
from gateway.app import create_app
from gateway.auth.authenticator import Authenticator
from gateway.auth.free_use import REFRESH_SECONDS, FreeUse
from gateway.auth.key_expiry import INTERVAL_SECONDS, KeyExpiry
from gateway.auth.keys_file import RELOAD_SECONDS, KeysFile
from gateway.dependencies import Dependencies
from gateway.http import server
from gateway.http.malloc import return_large_blocks
from gateway.job_service import readiness
from gateway.job_service.job_client import JobServiceClient
from gateway.job_service.notifier_client import NotifierClient
from gateway.job_service.operator_client import OperatorClient
from gateway.job_service.tenants import TenantRegistrar
from gateway.settings import Settings
from gateway.web.policy import page_headers


async def main(stop: asyncio.Event) -> None:
    """Runs the gateway until `stop` is set."""
    return_large_blocks()
    settings = config.load(Settings, environ=os.environ, known=SETTINGS)
    logs.configure(service="gateway", level=settings.log_level, form=settings.log_format)
    headers = _page_headers(settings.public_base_url)
    keys_file, trace_url = _keys_file(settings), trace_links.checked(settings.trace_url)
    keyring = keys_file.load() if keys_file else None
    ready = Readiness(readiness.NAME)
    async with AsyncExitStack() as stack:
        opened = stack.enter_context(server.bind(settings.http_listen))
        stack.enter_context(tracing("gateway"))
        opened_channel = channel(settings.job_address, settings=settings, max_message_bytes=MAX_JOB_MESSAGE_BYTES)
        job_service = await stack.enter_async_context(opened_channel)
        jobs, operator = JobServiceClient(job_service), OperatorClient(job_service)
        notifier = await stack.enter_async_context(channel(settings.notifier_address, settings=settings))
        # The socket's address decides, not the host name in the setting.
        listens_on_loopback = is_loopback(opened.getsockname()[0])
        may_be_keyless = settings.keyless_while_free and listens_on_loopback
        free_use = FreeUse(partial(jobs.providers, None)) if may_be_keyless else None
        authenticator = Authenticator(keyring, free_use=free_use)
        deps = Dependencies(
            jobs=jobs,
            operator=operator,
            webhooks=NotifierClient(notifier),
            tenants=TenantRegistrar(operator, lambda: authenticator.keyring),
            authenticator=authenticator,
            ready=ready,
            draining=stop,
            board_url=settings.board_url,
            trace_url=trace_url,
            page_headers=headers,
        )
        stack.push_async_callback(deps.images.close)
        # Stops after the tasks and the server below, so that metrics can be scraped while that one drains.
        await stack.enter_async_context(admin_port.serving("gateway", settings, more=[deps.metrics.instruments]))
        tasks = await stack.enter_async_context(lifecycle.Tasks(stop))
        check = partial(readiness.check, jobs, ready)
        tasks.start(run_every("job_service_watch", check, interval=1.0, stop=stop), name="job-service watch")
        tasks.start(CertificateExpiry(certificate_files(settings)).run(stop), name="certificate expiry")
        if keys_file is not None:
            expiry = KeyExpiry(lambda: authenticator.keyring)
            look = run_every("key_expiry", expiry.run_once, interval=INTERVAL_SECONDS, stop=stop)
            tasks.start(look, name="key expiry")
            reload = partial(keys_file.reload, authenticator.use)
            register = deps.tenants.run_once
            tasks.start(run_every("keys", reload, interval=RELOAD_SECONDS, stop=stop), name="keys")
            tasks.start(run_every("tenants", register, interval=RELOAD_SECONDS, stop=stop), name="tenants")
        if free_use is not None:
            tasks.start(run_every("free_use", free_use.refresh, interval=REFRESH_SECONDS, stop=stop), name="free use")
        http_server.log_listening("http.opened", opened)
        await server.serve(create_app(deps), opened, stop=stop)


def _page_headers(public_base_url: str | None) -> Mapping[str, str]:
    try:
        return page_headers(public_base_url)
    except ValueError as error:
        raise config.ConfigError(f"CALOTYPE_PUBLIC_BASE_URL {error}.") from None


def _keys_file(settings: Settings) -> KeysFile | None:
    if settings.api_keys_file is not None:
        return KeysFile(settings.api_keys_file)
    if not settings.keyless_while_free:
        raise config.ConfigError(
            "CALOTYPE_API_KEYS_FILE is not set. Set it to the path of the keys file: every request needs a key."
        )
    return None


if __name__ == "__main__":
    sys.exit(lifecycle.run(main))
