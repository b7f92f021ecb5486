"""A credential is used, and found nowhere: not in the database, a log, a span, or an answer."""

from pathlib import Path

import pytest

from cli.stack.state import StackState
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import KEY, Books
from tests.support.servers.otlp_collector import Collector
from tests.support.stacks.stack_clients import Client, tables_that_hold


@pytest.mark.parametrize("prompt", ["good and quiet", "refused and quiet", "failed and quiet", "gone and quiet"])
def test_the_key_of_a_provider_is_nowhere(
    client: Client, books: Books, stack: StackState, spans: Collector, server_folder: Path, prompt: str
) -> None:
    job = client.follow(client.submit(prompt, provider="paid")["id"])
    attempts = client.http.get(f"/v1/jobs/{job['id']}/attempts").text
    assert books.count(prompt) == 1

    assert KEY not in attempts
    assert [tables_that_hold(url, KEY) for url in stack.database_urls.values()] == [[], []]
    # What is looked for would be found: the prompt is in its row.
    assert "jobs" in tables_that_hold(stack.database_url, prompt)
    assert spans.hold(job["id"], seconds=PATIENCE)
    assert not spans.hold(KEY)
    logs = {path.name: path.read_text(encoding="utf-8") for path in (server_folder / "stack").rglob("*.log")}
    assert any(job["id"] in text for text in logs.values())
    assert [name for name, text in logs.items() if KEY in text] == []
