"""docs/client.md does what it says: its Python is run as it stands, from top to bottom."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import calotype.client
import pytest
from calotype.client import CalotypeError, JobClient
from calotype.job.v1 import job_pb2

from common.grpc_server import serve
from common.health import Readiness
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.notifier.fake_webhook_service import FakeWebhookService, serving_webhooks
from tests.support.security.certificates import LOCAL, Authority
from tests.support.security.identities import entry, security_for, write

PAGE = (Path(__file__).parents[3] / "docs/client.md").read_text(encoding="utf-8")


class Painter(FakeJobService):
    """Has the picture as soon as somebody watches."""

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """A job's changes."""
        async for update in super().WatchJob(request, context):
            yield update
            if update.job.status == job_pb2.STATUS_QUEUED:
                self.progress(request.job_id, 40)
                picture = job_pb2.PublicArtifact(id="img_1", url="https://pictures.test/1.png")
                self.move(request.job_id, status=job_pb2.STATUS_COMPLETED, artifacts=[picture])


async def test_the_page_runs_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    painter, webhooks, server = Painter(), FakeWebhookService(), Authority(tmp_path / "pki").give("server", *LOCAL)
    identities = write(tmp_path / "identities.yaml", entry("acme", "client", tenants=["acme"]))
    door = security_for(identities, grpc_tls_cert_file=server.certificate, grpc_tls_key_file=server.key)
    (tmp_path / "token").write_text("acme\n", encoding="ascii")
    async with AsyncExitStack() as stack:
        inside = await stack.enter_async_context(serving(painter))
        notifier = await stack.enter_async_context(serving_webhooks(webhooks))
        port = await stack.enter_async_context(
            serve("127.0.0.1:0", [painter.grpc_service()], ready=Readiness(), security=door)
        )
        here = {
            '"job:50051"': f'"{inside}"',
            '"notifier:50051"': f'"{notifier}"',
            '"jobs.example.com:50051"': f'"127.0.0.1:{port}"',
            '"ca.pem"': repr(str(server.authority)),
            '"token"': repr(str(tmp_path / "token")),
        }
        page = PAGE
        for written, meant in here.items():
            assert written in page
            page = page.replace(written, meant)

        def run() -> None:
            names: dict[str, Any] = {}
            with JobClient(inside, tenant="acme") as jobs:
                for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
                    names["jobs"] = jobs
                    exec(block, names)

        await asyncio.to_thread(run)
    told = capsys.readouterr().out

    assert len(painter.history) == 5
    assert [webhook.event_types for webhook in webhooks.webhooks.values()] == [["job.completed", "job.failed"]]
    assert "\n204 \n" in told
    for line in ("['https://pictures.test/1.png']", "1 STATUS_QUEUED", "40 %", "2 STATUS_COMPLETED", "percent: 40"):
        assert line in told
    # Newest first, over TLS.
    assert told.endswith(f"{[*painter.history][::-1]}\n")


def test_the_page_tells_of_every_error() -> None:
    told = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))
    known = (getattr(calotype.client, name) for name in calotype.client.__all__)
    errors = {one.__name__ for one in known if issubclass(one, CalotypeError)}

    assert len(errors) > 5
    assert errors <= told
