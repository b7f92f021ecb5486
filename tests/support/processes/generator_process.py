"""The generator as a process, and the providers that it has."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from cli.stack.child import Child, Program
from services.job.domain.providers import Capabilities, Provider
from tests.support.job_service.use_cases import FREE, PAID
from tests.support.providers.paid_provider import KEY
from tests.support.security.identities import OPERATOR, entry, write

ROOT = Path(__file__).parents[3]
PROVIDERS = """
default: procedural
providers:
  - name: procedural
    kind: procedural
  - name: paid
    kind: replicate
    base_url: {url}
    api_key_env: PAID_API_KEY
    poll_interval_seconds: 0.05
    timeout_seconds: 300
    models: [{{name: test/model, price_micros_per_image: 40000}}]
  - name: edits
    kind: openai
    base_url: {url}
    api_key_env: PAID_API_KEY
    models: [{{name: editor}}]
"""
#: As far as jobs that are there before a generator registers them need it.
CATALOGUE = (
    replace(FREE, default_model="procedural"),
    replace(PAID, default_model="test/model"),
    Provider(
        name="edits",
        kind="openai",
        is_default=False,
        default_model="editor",
        capabilities=Capabilities(max_input_images=8),
    ),
)


def generator(folder: Path, settings: dict[str, str], *, storage_url: str, number: int, otlp_url: str = "") -> Child:
    """A process of generator-service; `settings` without their prefix. Spans go to `otlp_url`; "": nowhere."""
    identities = write(folder / "identities.yaml", entry(OPERATOR, "operator"))
    own = {f"CALOTYPE_{name}": value for name, value in ({"GRPC_IDENTITIES_FILE": str(identities)} | settings).items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    path = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    extra = {"STORAGE_EMULATOR_HOST": storage_url, "PYTHONPATH": path, "PAID_API_KEY": KEY}
    extra |= {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp_url, "OTEL_BSP_SCHEDULE_DELAY": "200"} if otlp_url else {}
    program = Program(
        name="generator",
        command=(sys.executable, "-m", "services.generator"),
        environment=inherited | own | extra,
        log=folder / f"generator-{number}.log",
        is_ready=lambda: True,
    )
    return Child(program)
