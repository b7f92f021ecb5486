"""The storage client's session: it sends what the library would send, and asks the environment once."""

from pathlib import Path

import pytest
import requests
from requests import Request

from common.storage_client import StorageSession, storage_client

ADDRESS = "http://127.0.0.1:9/storage/v1/b/staging/o/job_1%2F0?prettyPrint=false"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> StorageSession:
    """The session of a client of an emulator."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    found = storage_client(1)._http
    assert isinstance(found, StorageSession)
    return found


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", ADDRESS, headers={"accept-encoding": "gzip"}),
        Request("POST", ADDRESS, headers={"content-type": b"multipart/related"}, data=b"\x89PNG"),
        Request("POST", ADDRESS, headers={"Content-Type": "application/json"}, data='{"a": "\u00e9"}'),
        Request("DELETE", ADDRESS),
        Request("PUT", ADDRESS, data=iter([b"in", b"parts"])),
        Request("GET", ADDRESS, params={"a": "b"}),
    ],
)
def test_a_request_is_sent_as_the_library_would_send_it(session: StorageSession, request_: Request) -> None:
    prepared, expected = session.prepare_request(request_), requests.Session().prepare_request(request_)

    assert (prepared.method, prepared.url) == (expected.method, expected.url)
    assert {name.lower(): value for name, value in prepared.headers.items()} == {
        name.lower(): value for name, value in expected.headers.items()
    }
    assert prepared.body == (expected.body.encode() if isinstance(expected.body, str) else expected.body)


def test_the_environment_is_read_once_per_host(session: StorageSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/authority.pem")
    expected = session.merge_environment_settings("http://store.example/a", {}, None, None, None)
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")

    assert session.merge_environment_settings("http://store.example/b", {}, None, None, None) == expected
    assert (expected["proxies"]["http"], expected["verify"]) == ("http://proxy.example:3128", "/authority.pem")
    assert session.merge_environment_settings("http://store.example/c", {}, True, None, None)["stream"] is True
    assert "http" not in session.merge_environment_settings("http://other.example/", {}, None, None, None)["proxies"]


def test_a_token_is_read_from_a_variable_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("STORAGE_EMULATOR_TOKEN", "of-a-variable")
    assert storage_client(1)._credentials.token == "of-a-variable"

    (tmp_path / "token").write_text("of-a-file\n", encoding="utf-8")
    monkeypatch.setenv("STORAGE_EMULATOR_TOKEN_FILE", str(tmp_path / "token"))
    assert storage_client(1)._credentials.token == "of-a-file"

    monkeypatch.setenv("STORAGE_EMULATOR_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        storage_client(1)
