"""Credentials for object storage: the token of Google's server is sent, renewed when refused, and never guessed."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from common.storage_api import StorageApi, StorageDenied, StorageUnavailable, checksum
from common.storage_credentials import CredentialInvalid, CredentialUnavailable, StorageCredential, find_credential
from tests.support.servers.tcp_servers import tcp_server

DATA = b"\x89PNG a picture"
#: For other addresses the library asks another server for rules of the account, in a thread of its own.
REGIONAL = "https://storage.europe-west1.rep.googleapis.com/"


def response(status: str, body: bytes, *headers: str) -> bytes:
    """An answer, byte for byte."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Server:
    """Answers one request after the other as it was told, and keeps their heads."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.heads: list[str] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves a connection."""
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.heads.append(head.decode())
            fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
            await reader.readexactly(int(fields.get("content-length", 0)))
            writer.write(self.answers.pop(0))
            if not self.answers:
                return


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    """A server, and its URL."""
    found = Server()
    async with tcp_server(found.accept) as port:
        yield found, f"http://127.0.0.1:{port}"


class Renewable:
    """A credential whose token has a number, which a renewal increases."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint, self.number = endpoint, 1

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        """The current token."""
        return {"Authorization": f"Bearer {self.number}"}

    def renew(self) -> bool:
        """The next token."""
        self.number += 1
        return True


async def media(credential: StorageCredential) -> bytes:
    """Reads an object."""
    api = StorageApi("bucket", connections=1, credential=credential)
    try:
        return await asyncio.to_thread(api.media, "name")
    finally:
        api.close()


def tokens(server: Server) -> list[str]:
    """What each request showed."""
    return [head.lower().split("authorization: bearer ")[1].split("\r\n")[0] for head in server.heads]


async def test_a_refused_token_is_renewed_once(server: tuple[Server, str]) -> None:
    found, url = server
    refused, given = response("401 Unauthorized", b"{}"), response("200 OK", DATA)
    found.answers = [refused, given]
    assert await media(Renewable(url)) == DATA

    found.answers = [refused, refused]
    with pytest.raises(StorageDenied):
        await media(Renewable(url))
    assert tokens(found) == ["1", "2", "1", "2"]


async def test_bytes_that_are_not_those_of_their_checksum_are_not_returned(server: tuple[Server, str]) -> None:
    found, url = server
    found.answers = [response("200 OK", DATA, f"X-Goog-Hash: crc32c={checksum(DATA)},md5=x")]
    assert await media(Renewable(url)) == DATA

    found.answers = [response("200 OK", DATA, "X-Goog-Hash: crc32c=AAAAAA==,md5=x")]
    with pytest.raises(StorageUnavailable):
        await media(Renewable(url))


def key_file(folder: Path, token_url: str) -> Path:
    """A key file of a service account whose tokens come from a server."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "calotype@test", "private_key": key.decode()}
    file = folder / "key.json"
    file.write_text(json.dumps(account | {"token_uri": token_url}))
    return file


async def test_a_service_accounts_token_is_sent_and_its_refusals_are_told_apart(
    server: tuple[Server, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, url = server
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file(tmp_path, url)))
    monkeypatch.setenv("no_proxy", "*")
    credential = find_credential()

    found.answers = [response("200 OK", b'{"access_token": "t1", "expires_in": 3600}')]
    assert (await asyncio.to_thread(credential.headers, "GET", REGIONAL))["authorization"] == "Bearer t1"
    found.answers = [response("400 Bad Request", b'{"error": "invalid_grant"}')]
    with pytest.raises(CredentialInvalid):
        await asyncio.to_thread(credential.renew)
    await asyncio.to_thread(monkeypatch.setattr, credential, "_request", _broken)
    with pytest.raises(CredentialUnavailable):
        await asyncio.to_thread(credential.renew)

    assert urlsplit(credential.endpoint).netloc == "storage.googleapis.com"
    assert len(found.heads) == 2


def _broken(*arguments: object, **named: object) -> object:
    from google.auth.exceptions import TransportError

    raise TransportError("no connection")
