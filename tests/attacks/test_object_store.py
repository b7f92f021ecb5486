"""The object store as an attacker on this machine, a page in a browser, or one of the services meets it."""

import http.client
import json
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from cli.doctor.bucket import examine
from cli.doctor.findings import Level
from cli.stack.object_store.connection import CONNECTION_LIMIT
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import STORAGE_TOKENS, Server, new_buckets

PICTURE, STAGED = "jobs/job_1/0-abc.png", "job_1/call_1/0"
BYTES = b"\x89PNG a picture"
JSON = {"Content-Type": "application/json"}
RELATED = {"Content-Type": "multipart/related; boundary=x"}
SIMPLE = {"Content-Type": "text/plain"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Target:
    """A store with one public and one staged picture, and where its files lie."""

    url: str
    data: Path
    public: str
    staging: str

    def ask(self, method: str, target: str, *, token: str | None = None, body: bytes = b"", **headers: str) -> Answer:
        """Send a request as it stands: nothing of its target is made tidy."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        with closing(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)) as connection:
            connection.putrequest(method, target, skip_host="Host" in sent, skip_accept_encoding=True)
            for name, value in (sent | {"Content-Length": str(len(body))}).items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def put(self, bucket: str, name: str, *, token: str, content_type: str = "image/png") -> Answer:
        """Upload the picture; `name` as it stands in the address."""
        target = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
        return self.ask("POST", target, token=token, body=BYTES, Content_Type=content_type)

    def names(self, bucket: str, *, token: str) -> list[str]:
        """What a bucket has."""
        answer = self.ask("GET", f"/storage/v1/b/{bucket}/o", token=token)
        assert answer.status == 200
        return [one["name"] for one in json.loads(answer.body).get("items", ())]

    def is_untouched(self) -> bool:
        """Whether there is what was there at first, and nothing else."""
        public = self.ask("GET", f"/{self.public}/{PICTURE}")
        staged = self.ask("GET", f"/{self.staging}/{STAGED}", token=STORAGE_TOKENS["uploader"])
        return (
            (public.body, staged.body) == (BYTES, BYTES)
            and self.names(self.public, token=STORAGE_TOKENS["uploader"]) == [PICTURE]
            and self.names(self.staging, token=STORAGE_TOKENS["generator"]) == [STAGED]
        )


@pytest.fixture
def target(storage: Server, server_folder: Path) -> Iterator[Target]:
    """Buckets of the test's own."""
    public, staging = new_buckets()
    found = Target(url=storage.url, data=server_folder / "storage" / "data", public=public, staging=staging)
    assert found.put(public, quote(PICTURE, safe=""), token=STORAGE_TOKENS["uploader"]).status == 200
    assert found.put(staging, quote(STAGED, safe=""), token=STORAGE_TOKENS["generator"]).status == 200
    yield found
    # Whatever was tried: no file lies anywhere but where the store makes up its name itself.
    assert {one.name for one in found.data.parent.iterdir()} == {"data", "storage.log"}
    kept = {"access.json", "index.db", "index.db-wal", "incoming", "contents"}
    assert {one.name for one in found.data.iterdir()} <= kept


def calls(bucket: str, name: str, other: str) -> dict[str, tuple[str, str, bytes, dict[str, str]]]:
    """Every call of the API on a bucket and an object of it; `other` is a bucket to copy from and to."""
    listed, one = f"/storage/v1/b/{bucket}/o", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    upload, encoded = f"/upload/storage/v1/b/{bucket}/o", quote(name, safe="")
    described = json.dumps({"name": name}).encode()
    parts = b"--x\r\nContent-Type: application/json\r\n\r\n%b\r\n--x\r\n\r\nmine\r\n--x--" % described
    return {
        "buckets": ("GET", "/storage/v1/b", b"", {}),
        "bucket": ("GET", f"/storage/v1/b/{bucket}", b"", {}),
        "new bucket": ("POST", "/storage/v1/b?project=calotype", b'{"name": "mine"}', SIMPLE),
        "list": ("GET", listed, b"", {}),
        "list by path": ("GET", f"/{bucket}/", b"", {}),
        "stat": ("GET", one, b"", {}),
        "read": ("GET", f"{one}?alt=media", b"", {}),
        "download": ("GET", f"/download{one}?alt=media", b"", {}),
        "media": ("POST", f"{upload}?uploadType=media&name={encoded}", b"mine", SIMPLE),
        "multipart": ("POST", f"{upload}?uploadType=multipart", parts, RELATED),
        "resumable": ("POST", f"{upload}?uploadType=resumable", described, JSON),
        "resume": ("PUT", f"{upload}?uploadType=resumable&upload_id=e30=", b"mine", {}),
        "by path": ("PUT", f"/{bucket}/{name}", b"mine", {}),
        "patch": ("PATCH", one, b"{}", JSON),
        "copy from": ("POST", f"{one}/rewriteTo/b/{other}/o/stolen", b"", SIMPLE),
        "copy to": ("POST", f"/storage/v1/b/{other}/o/{encoded}/rewriteTo/b/{bucket}/o/mine", b"", SIMPLE),
        "copy": ("POST", f"{one}/copyTo/b/{other}/o/stolen", b"", SIMPLE),
        "delete": ("DELETE", one, b"", {}),
        "batch": ("POST", "/batch/storage/v1", b"", {"Content-Type": "multipart/mixed; boundary=x"}),
        "preflight": ("OPTIONS", one, b"", {"Access-Control-Request-Method": "DELETE"}),
    }


CALLS = [*calls("b", "o", "b")]
#: What shows no credential.
NOBODY = {
    "nothing": {},
    "a guess": {"Authorization": "Bearer guessed"},
    "another scheme": {"Authorization": f"Basic {STORAGE_TOKENS['uploader']}"},
    "a token without a scheme": {"Authorization": STORAGE_TOKENS["uploader"]},
    "half a token": {"Authorization": f"Bearer {STORAGE_TOKENS['uploader'][:-1]}"},
    "no ASCII": {"Authorization": "Bearer t\xf6ken"},
    "a token elsewhere": {"X-Goog-Api-Key": STORAGE_TOKENS["uploader"], "Cookie": f"t={STORAGE_TOKENS['uploader']}"},
}


@pytest.mark.parametrize("shown", NOBODY)
@pytest.mark.parametrize("name", CALLS)
def test_nobody_may_do_anything_without_a_credential(target: Target, name: str, shown: str) -> None:
    for bucket, one, other in (
        (target.public, PICTURE, target.staging),
        (target.staging, STAGED, target.public),
        ("elsewhere", "x", "elsewhere"),
    ):
        method, address, body, headers = calls(bucket, one, other)[name]
        answer = target.ask(method, address, body=body, **headers, **NOBODY[shown], Origin="https://evil.example")

        assert answer.status == 401
        assert json.loads(answer.body)["error"]["errors"][0]["reason"] == "required"
    assert target.is_untouched()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_anybody_reads_a_public_picture_and_nobody_a_staged_one(target: Target, method: str) -> None:
    public = target.ask(method, f"/{target.public}/{PICTURE}")

    assert (public.status, public.headers["content-type"]) == (200, "image/png")
    assert public.body == (BYTES if method == "GET" else b"")
    assert target.ask(method, f"/{target.public}/{PICTURE}x").status == 404
    assert target.ask(method, f"/{target.staging}/{STAGED}").status == 401
    assert target.ask(method, f"/{target.staging}/{STAGED}x").status == 401


WRITES = ("media", "multipart", "resumable", "resume", "copy to", "delete")


@pytest.mark.parametrize("who", ["generator", "judge"])
def test_who_is_granted_nothing_in_the_public_bucket_neither_writes_nor_lists(target: Target, who: str) -> None:
    for name in ("bucket", "list", *WRITES):
        method, address, body, headers = calls(target.public, PICTURE, target.staging)[name]
        answer = target.ask(method, address, token=STORAGE_TOKENS[who], body=body, **headers)

        assert (name, answer.status) == (name, 403)
    assert target.is_untouched()


def test_the_uploader_reads_what_is_staged_and_can_do_nothing_else_to_it(target: Target) -> None:
    for name in ("bucket", "list", *WRITES):
        method, address, body, headers = calls(target.staging, STAGED, target.public)[name]
        answer = target.ask(method, address, token=STORAGE_TOKENS["uploader"], body=body, **headers)

        assert (name, answer.status) == (name, 403)
    assert target.ask("GET", f"/{target.staging}/{STAGED}", token=STORAGE_TOKENS["uploader"]).body == BYTES
    assert target.is_untouched()


#: As they stand in an address.
ESCAPES = [
    "..%2F..%2F..%2Fescaped",
    "../../../escaped",
    "%2e%2e%2f%2e%2e%2fescaped",
    "%252e%252e%252fescaped",
    "..%255c..%255cescaped",
    "..%5C..%5Cescaped",
    "jobs%2F..%2F..%2F..%2Fescaped",
    "jobs%2Fjob_1%2F..",
    "jobs%2F.%2Fescaped",
    "jobs%2F%2Fescaped",
    "jobs%2F",
    "%2Fetc%2Fescaped",
    "%2F%2Fevil.example%2Fescaped",
    "..",
    ".",
    "C:%5Cescaped",
    "escaped%00.png",
    "%00",
    "escaped%0d%0aSet-Cookie:%20a=b",
    "escaped%7f",
    "escaped%C2%85",
    "%c0%ae%c0%ae%2fescaped",
    "%ff%fe",
    "%ed%a0%80escaped",
    "e" * 1025,
    "%C3%A9" * 513,
    "",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_could_be_taken_for_a_path_is_refused_in_every_call(target: Target, name: str) -> None:
    token = STORAGE_TOKENS["uploader"]
    one = f"/storage/v1/b/{target.public}/o"
    answers = [
        target.put(target.public, name, token=token),
        target.ask("GET", f"{one}/{name}", token=token),
        target.ask("GET", f"{one}/{name}?alt=media", token=token),
        target.ask("GET", f"/download{one}/{name}", token=token),
        target.ask("GET", f"/{target.public}/{name}"),
        target.ask("DELETE", f"{one}/{name}", token=token),
        target.ask("POST", f"{one}/{name}/rewriteTo/b/{target.public}/o/stolen", token=token),
        target.ask("POST", f"{one}/{quote(PICTURE, safe='')}/rewriteTo/b/{target.public}/o/{name}", token=token),
    ]

    assert {answer.status for answer in answers} <= {400, 401, 404}
    assert answers[0].status == 400
    assert target.is_untouched()


@pytest.mark.parametrize(
    "name", ["../../escaped", "/etc/escaped", "a\\..\\b", "a\0b", "a\r\nb", "\ud800", "..", "x" * 1025, 7, None, [], ""]
)
@pytest.mark.parametrize("form", ["multipart", "resumable"])
def test_a_name_in_a_body_is_checked_as_well(target: Target, form: str, name: object) -> None:
    described = json.dumps({"name": name}).encode()
    body = described
    if form == "multipart":
        body = b"--x\r\nContent-Type: application/json\r\n\r\n%b\r\n--x\r\n\r\nmine\r\n--x--" % described
    answer = target.ask(
        "POST",
        f"/upload/storage/v1/b/{target.public}/o?uploadType={form}",
        token=STORAGE_TOKENS["uploader"],
        body=body,
        **(RELATED if form == "multipart" else JSON),
    )

    assert answer.status == 400
    assert target.is_untouched()


@pytest.mark.parametrize(
    "name", ["．．／escaped", "é", "e\u0301", "~root", "-rf", "$(id)", "CON", "a b", "a:b", "ab*?"]
)
def test_a_name_that_is_odd_is_a_name_and_nothing_else(target: Target, name: str) -> None:
    token = STORAGE_TOKENS["uploader"]
    assert target.put(target.public, quote(name, safe=""), token=token).status == 200

    assert target.ask("GET", f"/{target.public}/{quote(name)}").body == BYTES
    assert sorted(target.names(target.public, token=token)) == sorted([PICTURE, name])


@pytest.mark.parametrize("bucket", ["..", "..%2F", "%2e%2e", ".", "", "storage", "contents", "incoming", "index.db"])
def test_a_bucket_that_is_none_leads_nowhere(target: Target, bucket: str) -> None:
    for address in (f"/{bucket}/keys.json", f"/{bucket}/access.json", f"/{bucket}", f"/storage/v1/b/{bucket}/o"):
        assert target.ask("GET", address).status == 401
        assert target.ask("GET", address, token=STORAGE_TOKENS["uploader"]).status == 404
    assert target.put(bucket, "x", token=STORAGE_TOKENS["uploader"]).status == 404


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example@localhost",
        "localhost/evil.example",
        "evil.example#localhost",
        "0.0.0.0",
        "[::]",
        "10.0.0.1",
        "169.254.169.254",
        "",
    ],
)
def test_who_means_another_host_is_refused_even_with_a_credential(target: Target, host: str) -> None:
    token = STORAGE_TOKENS["uploader"]

    assert target.ask("GET", f"/{target.public}/{PICTURE}", Host=host).status == 403
    for method, address, body, headers in calls(target.public, PICTURE, target.public).values():
        assert target.ask(method, address, token=token, body=body, Host=host, **headers).status == 403
    assert target.is_untouched()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:80", "127.8.8.8"])
def test_whatever_means_this_machine_is_served(target: Target, host: str) -> None:
    assert target.ask("GET", f"/{target.public}/{PICTURE}", Host=host).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
def test_no_page_reads_an_answer(target: Target, origin: str) -> None:
    preflight = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    answers = [
        target.ask(method, address, token=token, body=body, Origin=origin, **headers | preflight)
        for method, address, body, headers in calls(target.public, PICTURE, target.public).values()
        for token in (None, STORAGE_TOKENS["uploader"])
    ]
    answers += [target.ask(method, f"/{target.public}/{PICTURE}", Origin=origin) for method in ("GET", "OPTIONS")]

    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}


@pytest.mark.parametrize(
    ("content_type", "disposition"),
    [
        ("image/png", "inline"),
        ("image/jpeg", "inline"),
        ("image/webp", "inline"),
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/xhtml+xml", "attachment"),
        ("text/html; a=image/png", "attachment"),
        ("", "attachment"),
    ],
)
def test_no_browser_runs_what_is_stored(target: Target, content_type: str, disposition: str) -> None:
    stored = target.put(target.public, "page", token=STORAGE_TOKENS["uploader"], content_type=content_type)
    answer = target.ask("GET", f"/{target.public}/page")

    assert stored.status == 200
    assert answer.headers["content-type"] == (content_type or "application/octet-stream")
    assert answer.headers["content-disposition"] == disposition
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "described",
    [
        {"contentType": "text/html\r\nX-Evil: 1"},
        {"contentType": "x" * 257},
        {"contentType": 7},
        {"cacheControl": "public\nX-Evil: 1"},
        {"metadata": {"a\r\nX-Evil": "1"}},
        {"metadata": {"a": "1\r\nX-Evil: 1"}},
        {"metadata": {"a": 1}},
        {"metadata": {"": "1"}},
        {"metadata": ["a"]},
        {"metadata": {"a": "x" * 8192}},
        {"metadata": {"a": "\ud800"}},
    ],
)
def test_a_description_that_could_become_a_header_is_refused(target: Target, described: dict[str, object]) -> None:
    body = json.dumps({"name": "page"} | described).encode()
    rewrite = f"/storage/v1/b/{target.public}/o/{quote(PICTURE, safe='')}/rewriteTo/b/{target.public}/o/page"
    for address in (f"/upload/storage/v1/b/{target.public}/o?uploadType=resumable", rewrite):
        assert target.ask("POST", address, token=STORAGE_TOKENS["uploader"], body=body, **JSON).status == 400
    assert target.is_untouched()


@pytest.mark.parametrize(
    "ticket", ["", "x", "e30=", "W10=", "%00", "eyJvYmplY3QiOiB7fSwgImdlbmVyYXRpb25fbWF0Y2giOiBudWxsfQ=="]
)
def test_an_upload_that_was_not_begun_is_not_gone_on_with(target: Target, ticket: str) -> None:
    address = f"/upload/storage/v1/b/{target.public}/o?uploadType=resumable&upload_id={ticket}"

    assert target.ask("PUT", address, token=STORAGE_TOKENS["uploader"], body=b"mine").status == 400
    assert target.is_untouched()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"--y\r\n\r\n{}\r\n--y--",
        b"--x\r\n\r\n{}\r\n--x--",
        b'--x\r\n\r\n{"name": "page"}\r\n--x\r\n\r\nhalf',
        b'--x\r\n\r\n{"name": "page"}\r\n--x\r\n\r\nmine\r\n--x\r\n\r\nmore\r\n--x--',
        b'--x\r\n\r\n["page"]\r\n--x\r\n\r\nmine\r\n--x--',
        b"--x\r\n\r\n" + b"[" * 60_000 + b"\r\n--x\r\n\r\nmine\r\n--x--",
        b'--x\r\n\r\n{"name": "page", "a": "' + b"a" * 100_000 + b'"}\r\n--x\r\n\r\nmine\r\n--x--',
        b"--x\r\nA: " + b"a" * 1_000_000 + b'\r\n\r\n{"name": "page"}\r\n--x\r\n\r\nmine\r\n--x--',
        b"--x\r\n" + b"a" * 1_000_000 + b': a\r\n\r\n{"name": "page"}\r\n--x\r\n\r\nmine\r\n--x--',
    ],
    ids=range(11),
)
def test_a_body_of_other_parts_than_a_description_and_bytes_is_refused(target: Target, body: bytes) -> None:
    address = f"/upload/storage/v1/b/{target.public}/o?uploadType=multipart"

    assert target.ask("POST", address, token=STORAGE_TOKENS["uploader"], body=body, **RELATED).status == 400
    assert target.is_untouched()


def test_a_body_that_breaks_off_leaves_nothing(target: Target) -> None:
    address = urlsplit(target.url)
    head = f"POST /upload/storage/v1/b/{target.public}/o?uploadType=media&name=half HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Authorization: Bearer {STORAGE_TOKENS['uploader']}\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + bytes(500_000))
        connection.shutdown(socket.SHUT_WR)
        # Closed by the store once it has seen the end.
        assert connection.recv(1024) == b""

    assert target.is_untouched()
    assert list((target.data / "incoming").iterdir()) == []


def test_a_body_that_is_too_large_is_refused_and_leaves_nothing(target: Target) -> None:
    address = urlsplit(target.url)
    head = f"POST /upload/storage/v1/b/{target.public}/o?uploadType=media&name=large HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Authorization: Bearer {STORAGE_TOKENS['uploader']}\r\nTransfer-Encoding: chunked\r\n\r\n"
    mebibyte = b"100000\r\n" + bytes(1024 * 1024) + b"\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        for _ in range(101):
            connection.sendall(mebibyte)
        connection.sendall(b"0\r\n\r\n")
        answer = connection.recv(1024)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert target.is_untouched()
    assert list((target.data / "incoming").iterdir()) == []


def test_connections_that_do_nothing_keep_nobody_out(target: Target) -> None:
    address = urlsplit(target.url)
    with ExitStack() as stack:
        for _ in range(CONNECTION_LIMIT + 50):
            opened = socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE)
            stack.enter_context(opened)

        assert target.is_untouched()


def test_the_store_keeps_digests_of_tokens_alone_and_files_for_its_owner(target: Target) -> None:
    kept = (target.data / "access.json").read_text(encoding="utf-8")

    assert not [token for token in STORAGE_TOKENS.values() if token in kept]
    files = [target.data, *target.data.rglob("*")]
    assert not [one for one in files if stat.S_IMODE(one.stat().st_mode) & 0o077]


def test_doctor_sees_that_nobody_lists_the_public_bucket(target: Target) -> None:
    assert examine(target.url, target.public).level is Level.OK
