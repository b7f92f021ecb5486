"""What a stack says to people who start it: what to export, and whether they need a key."""

import pytest

from cli.stack import exports
from cli.stack.exports import key_need
from cli.stack.state import StackState

STATE = StackState(
    http="http://127.0.0.1:8080",
    grpc={},
    database_url="",
    notifier_database_url="",
    nats_url="",
    nats_monitor_url="",
    storage_url="",
    public_base_url="",
    bucket="",
    staging_bucket="",
    api_key="ck_secret",
    operator_key="",
    grpc_token="",
    storage_tokens={},
    pids={},
    admin={},
)


def test_a_key_and_an_address_are_what_openai_s_client_reads() -> None:
    assert exports.exports(STATE) == [
        "export CALOTYPE_API_KEY=ck_secret",
        "export OPENAI_BASE_URL=http://127.0.0.1:8080/v1",
        "export OPENAI_API_KEY=ck_secret",
    ]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, b'{"providers": []}'), "No key is needed now: "),
        ((401, b'{"detail": "A key is needed: not every provider is free. Send it."}'), "every provider is free."),
        ((503, b'{"detail": "Ask again."}'), "is not known: the gateway answers 503. Ask again."),
        ((500, b"Internal Server Error"), "is not known: the gateway answers 500."),
        (None, "does not answer."),
    ],
)
def test_whether_a_key_is_needed_is_what_the_gateway_says(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes] | None, told: str
) -> None:
    monkeypatch.setattr(exports, "http_response", lambda url, seconds: answer)
    said = key_need(STATE)

    assert said.startswith(told) or said.endswith(told)
    assert STATE.api_key not in said
