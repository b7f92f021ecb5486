"""The HTML pages: `/docs` from the OpenAPI document, and one page for each reason."""

import base64
import hashlib
import re
from html import unescape
from typing import Any

import httpx
import pytest
from calotype.error_reasons import Reason

from gateway.problems.reasons import REASONS, slug


async def test_the_documentation_is_a_page_that_needs_no_other_host(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    for directive in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "trusted-types 'none'"):
        assert directive in policy
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy
    [script] = re.findall(r'<script type="module" src="([^"]+)"></script>', answer.text)
    assert (await client.get(script)).headers["content-type"] == "text/javascript; charset=utf-8"
    assert "/v1/jobs/{job_id}/events" in answer.text
    assert not re.search(
        r"<script[^>]*>[^<]|<link|<img|https?://(?!127\.0\.0\.1|(?:images|shop)\.example)", answer.text
    )


async def test_the_documentation_shows_every_field_of_every_operation(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    page = (await client.get("/docs")).text
    schemas = document["components"]["schemas"]
    sections = dict(re.findall(r'<details id="(\w+)">(.*?)</details>', page, re.DOTALL))
    types = dict(re.findall(r'<h3 id="(\w+)">(.*?)(?=<h3|</body>)', page, re.DOTALL))
    assert set(types) == set(schemas)
    for operation in (one for path in document["paths"].values() for one in path.values()):
        section = sections[operation["operationId"]]
        assert _text(operation["description"]) in _text(section)
        for one in operation.get("parameters", ()):
            assert f"<code>{one['name']}</code><br><small>{one['in']}</small>" in section
            assert _text(one["description"]) in _text(section)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            _shows_fields(section, schemas[content["schema"]["$ref"].rpartition("/")[2]])
    for name, schema in schemas.items():
        assert _text(schema["description"]) in _text(types[name])
        _shows_fields(types[name], schema)


def _shows_fields(section: str, schema: dict[str, Any]) -> None:
    for name, field in schema.get("properties", {}).items():
        assert f"<code>{name}</code>" in section
        assert _text(field["description"]) in _text(section)


def _text(written: str) -> str:
    """What a reader sees of Markdown or HTML: without marks, tags and line breaks."""
    plain = unescape(re.sub(r"<[^>]+>", " ", written)) if "</" in written else re.sub(r"^- ", "", written, flags=re.M)
    return re.sub(r"[\s`*]+", "", plain)


async def test_a_row_of_the_documentation_has_type_bounds_default_and_description(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    cells = ("<code>n</code>", "integer", "1 to 10", "<code>1</code>", "<p>Number of images.</p>")
    assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" in page
    words = ("<code>on_ambiguous</code>", '<a href="#OnAmbiguous">OnAmbiguous</a>', "one of <code>fail</code>, ")
    assert f"<tr><td>{words[0]}</td><td>{words[1]}</td><td>{words[2]}" in page
    # Code of descriptions is rendered; examples are shown as they are.
    assert "`" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)


async def test_links_of_the_documentation_lead_to_its_sections(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.parametrize("reason", REASONS)
async def test_the_type_of_every_problem_leads_to_its_page(client: httpx.AsyncClient, reason: Reason) -> None:
    answer = await client.get(f"/problems/{slug(reason)}")
    assert (answer.status_code, reason in answer.text) == (200, True)


async def test_there_is_no_page_for_a_problem_that_is_none(client: httpx.AsyncClient) -> None:
    assert (await client.get("/problems/%3Cscript%3E")).status_code == 404
