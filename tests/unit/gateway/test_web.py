"""`/` and the files below `/assets/`: caching, policy, and what cannot be requested."""

import gzip
import re
from pathlib import Path

import httpx
import pytest

from gateway.web.policy import page_headers
from gateway.web.static_files import ASSET_CACHE, FOLDER, OTHER_VERSION_CACHE, StaticFiles

PAGES = ("/", "/ops")


def _assets(page: str) -> list[str]:
    return re.findall(r'(?:href|src)="(/assets/[^"]+)"', page)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_needs_no_key_and_names_files_that_exist(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path, headers={"Authorization": "Bearer unknown"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-cache"
    assert len(_assets(page.text)) >= 3
    for address in _assets(page.text):
        asset = await client.get(address)
        assert (asset.status_code, asset.headers["cache-control"]) == (200, ASSET_CACHE)
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    # HTML in the page itself is plain: the policy allows neither scripts nor styles there.
    assert not re.search(r"<style|<script(?![^>]+ src=)| style=| on[a-z]+=|https?://", page.text)


async def test_a_page_that_has_not_changed_is_not_sent_again(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    again = await client.get("/", headers={"If-None-Match": f'"another", {page.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert "script-src 'self'" in again.headers["content-security-policy"]


async def test_files_are_sent_compressed_to_those_who_accept_it(client: httpx.AsyncClient) -> None:
    plain = await client.get("/", headers={"Accept-Encoding": "identity"})
    packed = await client.get("/", headers={"Accept-Encoding": "br;q=1, gzip;q=0.5"})
    refused = await client.get("/", headers={"Accept-Encoding": "gzip;q=0"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text == refused.text
    assert packed.headers["etag"] != plain.headers["etag"] == refused.headers["etag"]
    assert packed.headers["vary"].startswith("Accept-Encoding")


async def test_the_policy_holds_for_pages_and_for_nothing_else(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).headers["content-security-policy"]
    assert page.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert page.endswith("require-trusted-types-for 'script'; trusted-types 'none'")
    assert "unsafe" not in page
    assert "script-src" not in (await client.get("/v1/nothing")).headers["content-security-policy"]


async def test_unknown_paths_are_problems_as_before(client: httpx.AsyncClient) -> None:
    for path in ("/index.html", "/studio", "/assets", "/assets/"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["reason"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    [
        *("index.html", "css/missing.css", "../static_files.py", "css/../../policy.py", "%2e%2e/policy.py", ""),
        *("css/%2e%2e%2f%2e%2e%2fpolicy.py", "/etc/passwd", "css", "vendor/vendor.d.ts", "css\\tokens.css"),
    ],
)
async def test_only_the_listed_files_can_be_requested(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/assets/{StaticFiles().version}/{path}")
    assert answer.status_code == 404


async def test_a_file_of_another_version_is_served_and_not_kept(client: httpx.AsyncClient) -> None:
    asset = await client.get(f"/assets/{'0' * 16}/css/tokens.css")
    assert (asset.status_code, asset.headers["cache-control"]) == (200, OTHER_VERSION_CACHE)
    for version in ("latest", "0" * 15, "0" * 17, "G" * 16):
        assert (await client.get(f"/assets/{version}/css/tokens.css")).status_code == 404


def test_the_version_changes_with_each_file(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<link href="/assets/VERSION/a.css"> VERSION')
    (tmp_path / "a.css").write_text("a {}")
    (tmp_path / "private.key").write_text("secret")
    first = StaticFiles(tmp_path)
    assert first.page("page.html").body.decode() == f'<link href="/assets/{first.version}/a.css"> VERSION'
    assert gzip.decompress(first.page("page.html").compressed) == first.page("page.html").body
    assert first.asset(first.version, "private.key") is None
    assert StaticFiles(tmp_path).version == first.version
    (tmp_path / "a.css").write_text("a { }")
    assert StaticFiles(tmp_path).version != first.version


def test_images_come_from_the_public_address_alone() -> None:
    policy = page_headers("https://images.example:8443/calotype-public")["Content-Security-Policy"]
    assert "img-src 'self' blob: https://images.example:8443/calotype-public/;" in policy
    assert "connect-src 'self' https://images.example:8443/calotype-public/;" in policy
    assert "img-src 'self' blob:;" in page_headers(None)["Content-Security-Policy"]


@pytest.mark.parametrize(
    "url", ["ftp://a/", "https://", "https://a/; script-src *", "https://a/ https://b/", "https://u@a/", "https://a/?q"]
)
def test_an_address_that_could_change_the_policy_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be an http or https URL"):
        page_headers(url)


def test_a_first_visit_loads_less_than_100_kb() -> None:
    files = StaticFiles()
    loaded = [path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.suffix in (".css", ".js")]
    assets = [found[0] for path in loaded if (found := files.asset(files.version, path)) is not None]
    assert sum(len(file.compressed) for file in assets) + len(files.page("index.html").compressed) < 100_000
