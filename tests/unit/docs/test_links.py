"""What a page names exists: files and headings that it links to, and paths that it names in code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "node_modules" not in page.parts),
]
SOURCES = r"(?:services|gateway|common|cli|proto|tests|deploy|docs|requirements)"
#: Parts of a path that stand for many names: no file has exactly that path.
PLACEHOLDER = re.compile(r"KIND|NAME|[<>*]")


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_what_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8"))
    targets = [((page.parent / path).resolve() if path else page, anchor) for path, anchor in links]

    assert [str(target) for target, _ in targets if not target.exists()] == []
    assert [anchor for target, anchor in targets if anchor and anchor not in headings(target)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(rf"`({SOURCES}/[^`\s:]+)[`:]", page.read_text(encoding="utf-8"))

    assert [path for path in named if not PLACEHOLDER.search(path) and not (ROOT / path).exists()] == []


def test_each_question_names_a_path_or_says_that_it_is_not_built() -> None:
    page = (ROOT / "docs" / "finding-things.md").read_text(encoding="utf-8").partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+\?) \| ([^|]+) \|$", page, re.MULTILINE)
    answered = [question for question, answer in rows if re.match(rf"`{SOURCES}/", answer)]

    assert len(rows) >= 21
    assert len(answered) >= len(rows) - 2
    assert all("not built yet" in answer for question, answer in rows if question not in answered)


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / path).resolve() for path in re.findall(r"\]\(([^)#]+\.md)", index.read_text("utf-8"))}
    subjects = {page for page in (ROOT / "docs").glob("*.md") if page != index}

    assert subjects - linked == set()
