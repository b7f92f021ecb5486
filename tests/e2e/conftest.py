"""The whole embedded stack, as `calotype up` runs it, with a paid provider that the tests own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.state import StackState, read_state
from tests.support.providers.paid_provider import KEY, Books, paid_provider
from tests.support.servers.otlp_collector import Collector, collector
from tests.support.stacks.stack_clients import Client, RetryingTransport, caller

ROOT = Path(__file__).parents[2]
PROVIDERS = """
default: procedural
providers:
  - name: procedural
    kind: procedural
    aliases: {{dall-e-3: procedural}}
  - name: paid
    kind: replicate
    base_url: {url}
    api_key_env: PAID_API_KEY
    poll_interval_seconds: 0.1
    timeout_seconds: 600
    models: [{{name: test/model, price_micros_per_image: 40000}}]
  - name: edits
    kind: openai
    base_url: {url}
    api_key_env: PAID_API_KEY
    models: [{{name: editor}}]
    settings: {{backgrounds: [opaque], output_compression: true, input_fidelities: [high]}}
  - name: denied
    kind: replicate
    base_url: {url}
    api_key_env: WRONG_API_KEY
    models: [{{name: test/model, price_micros_per_image: 40000}}]
  - name: limited
    kind: openai
    base_url: {url}/says/429
    api_key_env: PAID_API_KEY
    models: [{{name: m}}]
  - name: strict
    kind: openai
    base_url: {url}/says/moderation_blocked
    api_key_env: PAID_API_KEY
    models: [{{name: m}}]
  - name: unpaid
    kind: replicate
    base_url: {url}/says/402
    api_key_env: PAID_API_KEY
    models: [{{name: test/model}}]
  - name: unreachable
    kind: openai
    base_url: http://127.0.0.1:{closed}
    api_key_env: PAID_API_KEY
    models: [{{name: m}}]
  - name: gone
    kind: openai
    base_url: http://127.0.0.1:{closed}
    api_key_env: PAID_API_KEY
    models: [{{name: m}}]
  - name: mistaken
    kind: replicate
    base_url: {url}
    api_key_env: WRONG_API_KEY
    models: [{{name: test/model, price_micros_per_image: 40000}}]
  - name: overloaded
    kind: comfyui
    base_url: {url}/says/503
    models: [{{name: m}}]
    settings:
      workflow:
        "6": {{class_type: CLIPTextEncode, inputs: {{text: ""}}}}
        "9": {{class_type: SaveImage, inputs: {{images: ["6", 0]}}}}
      slots: {{prompt: 6.inputs.text}}
"""
#: Long enough for a busy machine, which stalls a process for seconds; a test that is to see a rescue ends the lease.
TIMING = {
    "CALOTYPE_LEASE_SECONDS": "15",
    "CALOTYPE_MONITOR_INTERVAL_SECONDS": "0.5",
    "CALOTYPE_MAX_GENERATING_SECONDS": "600",
    "CALOTYPE_MAX_UPLOADING_SECONDS": "15",
    "CALOTYPE_GRACE_SECONDS": "2",
    "CALOTYPE_LOG_FORMAT": "json",
}


@pytest.fixture(scope="session")
def spans() -> Iterator[Collector]:
    """Where the stack's spans arrive."""
    with collector() as found:
        yield found
        assert found.violations == []


@pytest.fixture(scope="session")
def books() -> Iterator[Books]:
    """The paid provider's books."""
    with paid_provider() as found:
        yield found


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port at which nobody listens, and nobody else may."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="session")
def stack(server_folder: Path, spans: Collector, books: Books, closed_port: int) -> Iterator[StackState]:
    """A running stack, one for all tests of the run."""
    folder = server_folder / "stack"
    providers = server_folder / "providers.yaml"
    providers.write_text(PROVIDERS.format(url=books.url, closed=closed_port), encoding="utf-8")
    settings = TIMING | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
        "PAID_API_KEY": KEY,
        "WRONG_API_KEY": "wrong",
        "OTEL_EXPORTER_OTLP_ENDPOINT": spans.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        # Receivers of tests are on this machine.
        "CALOTYPE_WEBHOOK_ALLOW_PRIVATE": "true",
    }
    environment = {**os.environ, **settings}
    command = [sys.executable, "-m", "cli", "up", "--detach", "--http", "127.0.0.1:0", "--data", str(folder)]
    subprocess.run([*command, "--providers", str(providers)], env=environment, check=True, cwd=ROOT)
    try:
        state = read_state(folder)
        assert state is not None
        yield state
    finally:
        subprocess.run([sys.executable, "-m", "cli", "down", "--data", str(folder)], check=True, cwd=ROOT)


@pytest.fixture
def client(stack: StackState) -> Iterator[Client]:
    """A frontend's view of the stack."""
    with caller(stack, transport=RetryingTransport()) as opened:
        yield Client(opened)
