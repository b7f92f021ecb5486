"""What docs/webhooks.md says of webhooks is what the code does."""

import importlib
import importlib.util
import json
import re
import shlex
import time
from pathlib import Path
from types import ModuleType

import click
import pytest

from cli.__main__ import COMMANDS
from gateway.schemas.webhook_requests import CreateWebhook
from services.notifier.adapters import signatures
from services.notifier.domain import events
from services.notifier.domain.endpoints import SignatureScheme
from services.notifier.domain.health import EndpointState
from tests.support.pages import examples, webhook_limits, webhooks
from tests.support.pages.webhook_events import EXAMPLES

PAGE = webhooks.PAGE.read_text(encoding="utf-8")
LINES = " ".join(PAGE.split())
NOTIFIER = Path(__file__).parents[3] / "services" / "notifier"
COMMAND_LINES = re.findall(r"^(?:\w+=\w+ )?calotype (.+)$", PAGE, re.MULTILINE)


def test_the_generated_parts_are_fresh() -> None:
    assert webhooks.with_parts(PAGE) == PAGE, "run python -m tests.support.pages.webhooks"


def test_every_type_has_an_example_as_it_is_sent() -> None:
    shown = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]

    assert [example.type for example in EXAMPLES] == [*events.SUBSCRIBABLE, events.TEST]
    assert [webhooks.whole(body, shown[0]) for body in shown] == [json.loads(example.body) for example in EXAMPLES]


@pytest.mark.parametrize("phrase", webhook_limits.phrases())
def test_numbers_in_sentences_are_those_of_the_code(phrase: str) -> None:
    assert phrase.lower() in LINES.lower()


def test_every_state_of_health_is_explained() -> None:
    section = PAGE.partition("## Health of an endpoint")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(EndpointState)


def test_every_event_of_the_log_is_listed_and_no_other() -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for file in NOTIFIER.rglob("*.py"))
    logged = set(re.findall(r'(?:logging\.(?:INFO|WARNING|ERROR),\s+|_LOG\.exception\()"([\w.]+)"', code))
    table = PAGE.partition("| log event |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]

    assert {name for row in rows for name in re.findall(r"`([\w.]+)`", row)} == logged


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_are_understood(line: str) -> None:
    name, *arguments = shlex.split(line)
    module, _, function = COMMANDS[name].partition(":")
    command: click.Command = getattr(importlib.import_module(module), function)
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]

    assert command.make_context(name, arguments)


def test_the_receiver_of_the_tutorial_is_that_of_the_page() -> None:
    tutorial = (webhooks.PAGE.parent / "tutorial.md").read_text(encoding="utf-8")

    assert f"cat > receiver.py <<'END'\n{examples.block(webhooks.PAGE, 'receiver.py')}END\n" in tutorial


def test_the_body_that_curl_sends_is_accepted() -> None:
    [body] = re.findall(r"-d '(.*?)'", PAGE)

    assert CreateWebhook.model_validate_json(body).event_types == ["job.completed", "job.failed"]


@pytest.fixture
def verifier(tmp_path: Path) -> ModuleType:
    """The page's function for `v1a`."""
    file = examples.written(webhooks.PAGE, "verify_v1a.py", tmp_path)
    spec = importlib.util.spec_from_file_location("verify_v1a", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_signatures_of_the_scheme_v1a_are_verified_by_the_public_key(verifier: ModuleType) -> None:
    key, old, now = signatures.new_key(), signatures.new_key(), int(time.time())

    def headers(at: int) -> dict[str, str]:
        signed = signatures.signature_header("msg_1", at, b"{}", keys=[key, old], scheme=SignatureScheme.V1A)
        return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signed}

    def is_genuine(body: bytes, shown: dict[str, str], of: bytes) -> bool:
        return bool(verifier.is_genuine(body, shown, signatures.written_public_key(of)))

    assert is_genuine(b"{}", headers(now), key)
    assert is_genuine(b"{}", headers(now), old)
    assert not is_genuine(b"{} ", headers(now), key)
    assert not is_genuine(b"{}", headers(now), signatures.new_key())
    assert not is_genuine(b"{}", headers(now - 3_600), key)
    assert not is_genuine(b"{}", {**headers(now), "webhook-signature": "v1,x v1a,="}, key)
